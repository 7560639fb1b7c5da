"""Contrastive losses over mined negatives: functions of scores that are torch tensors; torch itself is not imported.

    from negmine import losses

    mined = losses.present(negatives)                        # bool [B, k]: not what lies beyond counts
    positive = (anchors * positives).sum(1)                  # [B]
    negative = torch.einsum("bd,bkd->bk", anchors, others)   # [B, k], embedded anew, so that gradients flow
    loss = losses.info_nce(positive, negative, mask=mined, weights=negatives.weights, temperature=0.05)

Shared by all: scores are higher where more alike, `positive` is [B] and `negative` [B, k], t is the temperature, n_j =
exp(s_j / t), p = exp(s+ / t). `mask` bool [B, k] says where there is a negative; None = everywhere. Elsewhere there
may be anything, NaN too, and its gradient is 0. The result is the mean over the anchors that have a negative; an
anchor without any (starved) adds nothing, and where all are starved the loss is 0, which may still be differentiated.
Half precision is computed in float32. Every call reads a few flags back from the device, to raise on NaN.

In-batch negatives, alone or beside mined ones: `scores, mask = in_batch(anchors, positives)`, and torch.cat of both.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from negmine import _arrays
from negmine._exceptions import InvalidInput
from negmine._results import Array, Negatives


def present(negatives: Negatives) -> Array:
    """bool [B, k]: where there is a negative, and not what fills a starved anchor's row (id -1, score NaN)."""
    return negatives.ids >= 0


def in_batch(anchors: Array, positives: Array, groups: Array | None = None) -> tuple[Array, Array]:
    """Scores and mask, both [B, B], of the other anchors' positives as negatives.

    Args:
        anchors: [B, d], of unit length where scores are to be cosines.
        positives: [B, d], the anchors' positives in order.
        groups: int [B], -1 = none: positives of the anchor's own group are masked.

    Raises:
        InvalidInput: the shapes differ.
    """
    if anchors.ndim != 2 or positives.shape != anchors.shape:
        raise InvalidInput(
            f"anchors are {_shape(anchors)} and positives {_shape(positives)}; expected both [B, d]", field="positives"
        )
    scores = anchors @ positives.T
    rows = np.arange(len(anchors))
    mask = rows[:, None] != rows
    if groups is not None:
        held = _arrays.to_ids(groups, "groups", len(anchors))
        mask &= (held[:, None] != held) | (held < 0)
    return scores, _arrays.to_device(mask, _arrays.device_of(scores))


def info_nce(
    positive: Array, negative: Array, *, temperature: float, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """InfoNCE, weighted where `weights` are given: -log(p / (p + sum_j w_j n_j)).

    Args:
        positive: [B].
        negative: [B, k].
        temperature: t, above 0.
        mask: bool [B, k].
        weights: [B, k], at least 0, as UnReMix or `hcl_weights` give; scaled to a mean of 1 over each row's negatives,
            so that equal weights change nothing. Constants: no gradient flows through them.

    Returns:
        The loss, one number.

    Raises:
        InvalidInput: a shape is wrong, temperature is not above 0, a score or weight is not finite or a weight below 0,
            or a row's weights sum to 0.
    """
    p, n, mask = _logits(positive, negative, temperature, mask)
    return _over_anchors(p.logaddexp(_log_sum(n, mask, weights)) - p, mask)


def dcl(
    positive: Array, negative: Array, *, temperature: float, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """Decoupled contrastive loss (DCL): InfoNCE without the positive below the fraction, -log(p / sum_j w_j n_j).

    Arguments and errors as in `info_nce`.
    """
    p, n, mask = _logits(positive, negative, temperature, mask)
    return _over_anchors(_log_sum(n, mask, weights) - p, mask)


def hcl(
    positive: Array,
    negative: Array,
    *,
    temperature: float = 0.5,
    mask: Array | None = None,
    beta: float = 1.0,
    tau_plus: float = 0.1,
) -> Array:
    """HCL, as its code has it: -log(p / (p + Ng)), scores being cosines.

        Ng = max{ [sum_j(imp_j n_j) / mean(imp) - tau_plus N p] / (1 - tau_plus), N exp(-1 / t) },
        imp_j = exp(beta s_j / t), N = the row's negatives

    Gradients flow through imp, as there. beta 0 is the debiased loss; with tau_plus 0 too it is InfoNCE.

    Args:
        positive: cosines [B].
        negative: cosines [B, k].
        temperature: t, above 0.
        mask: bool [B, k].
        beta: concentration on hard negatives, at least 0.
        tau_plus: chance that a negative is a positive, in [0, 1).

    Raises:
        InvalidInput: a shape is wrong, a parameter is out of range, or a score is not finite.
    """
    _check_beta(beta)
    if not 0 <= tau_plus < 1:
        raise InvalidInput(f"tau_plus is {tau_plus}; expected at least 0, below 1", field="tau_plus")
    p, n, mask = _logits(positive, negative, temperature, mask)
    count = mask.sum(1).to(p.dtype)
    shift = n.amax(1).maximum(p).detach()  # all below is times exp(-shift): exp(1 / 0.01) is beyond float32
    imp = (beta * n).masked_fill(~mask, -math.inf).masked_fill(count.eq(0)[:, None], 0.0).softmax(1)
    hard = count * (imp * (n - shift[:, None]).exp()).sum(1)
    like = (p - shift).exp()
    least = count * (-1 / temperature - shift).exp()
    below = ((hard - tau_plus * count * like) / (1 - tau_plus)).maximum(least)
    return _over_anchors((like + below).log() - (p - shift), mask)


def debiased(
    positive: Array, negative: Array, *, temperature: float = 0.5, mask: Array | None = None, tau_plus: float = 0.1
) -> Array:
    """The debiased contrastive loss: `hcl` with beta 0."""
    return hcl(positive, negative, temperature=temperature, mask=mask, beta=0.0, tau_plus=tau_plus)


def hcl_weights(scores: Array, *, temperature: float = 0.5, beta: float = 1.0, mask: Array | None = None) -> Array:
    """HCL's importance of each negative, w_j = imp_j / mean(imp): mean 1 over a row's negatives, 0 elsewhere.

    As weights of `info_nce` on the same scores they make HCL with tau_plus 0, but for the gradient through imp.

    Args:
        scores: [B, k] as `Negatives.scores`, numpy or torch; the answer is of the same kind, in float32.
        temperature: t, above 0.
        beta: at least 0; 0 gives ones.
        mask: bool [B, k], as for the losses.

    Raises:
        InvalidInput: a shape is wrong, a parameter is out of range, or a score is not finite.
    """
    _check_beta(beta)
    _check_temperature(temperature)
    held = scores.detach().float().cpu().numpy() if _arrays.is_torch(scores) else np.asarray(scores, np.float32)
    there = np.ones(held.shape, np.bool_)
    if mask is not None:
        there = mask.cpu().numpy() if _arrays.is_torch(mask) else np.asarray(mask, np.bool_)
    if held.ndim != 2 or there.shape != held.shape:
        raise InvalidInput(f"scores are {_shape(held)} and mask {_shape(there)}; expected [B, k] both", field="scores")
    wrong = np.argwhere(there & ~np.isfinite(held))
    if len(wrong):
        raise InvalidInput(f"scores{wrong[0].tolist()} is {held[tuple(wrong[0])]}; expected finite", field="scores")
    logits = np.where(there, held * (beta / temperature), -np.inf)
    imp = np.exp(logits - np.where(there.any(1), logits.max(1, initial=-np.inf), 0)[:, None])
    count, total = there.sum(1, keepdims=True), imp.sum(1, keepdims=True)
    weights = imp * (count / np.where(count, total, 1))
    return _arrays.to_device(weights.astype(np.float32), _arrays.device_of(scores))


def _logits(positive: Array, negative: Array, temperature: float, mask: Array | None) -> tuple[Any, Any, Any]:
    """log p [B], log n [B, k] (the least that a cosine has where there is no negative) and the mask, checked."""
    _check_temperature(temperature)
    if not (_arrays.is_torch(positive) and _arrays.is_torch(negative)):
        raise InvalidInput(
            f"scores are {type(positive).__name__} and {type(negative).__name__}; expected torch tensors",
            field="negative",
        )
    if negative.ndim != 2 or positive.shape != negative.shape[:1] or not negative.shape[1]:
        raise InvalidInput(
            f"positive is {_shape(positive)} and negative {_shape(negative)}; expected [B] and [B, k], k at least 1",
            field="negative",
        )
    there = negative.new_ones(negative.shape).bool() if mask is None else _constant(mask, negative, "mask").bool()
    p, n = _wide(positive), _wide(negative).masked_fill(~there, -1.0)
    _refuse(~p.isfinite(), "positive", "is not finite")
    _refuse(~n.isfinite(), "negative", "is not finite, where the mask has a negative")
    return p / temperature, n / temperature, there


def _log_sum(n: Any, mask: Any, weights: Array | None) -> Any:
    """log(sum_j w_j n_j) [B]; 0 for an anchor without a negative."""
    count = mask.sum(1, keepdim=True)
    if weights is not None:
        held = _constant(weights, n, "weights").to(n.dtype).masked_fill(~mask, 0.0)
        _refuse(~held.isfinite() | (held < 0), "weights", "is not finite, or below 0")
        total = held.sum(1, keepdim=True)
        _refuse((total.eq(0) & count.gt(0))[:, 0], "weights", "sums to 0")
        n = n + (held * (count / total.masked_fill(count.eq(0), 1.0))).log()
    return n.masked_fill(~mask, -math.inf).masked_fill(count.eq(0), 0.0).logsumexp(1)


def _over_anchors(losses: Any, mask: Any) -> Any:
    """The mean of [B] over the anchors that have a negative; 0 where none has."""
    starved = ~mask.any(1)
    return losses.masked_fill(starved, 0.0).sum() / (~starved).sum().clamp(min=1)


def _constant(value: Array, like: Any, field: str) -> Any:
    """The value as a tensor beside `like`, of its shape, without a gradient."""
    if tuple(value.shape) != tuple(like.shape):
        raise InvalidInput(f"{field} is {_shape(value)}; expected {_shape(like)}", field=field)
    return value.detach() if _arrays.is_torch(value) else _arrays.to_device(np.ascontiguousarray(value), like.device)


def _wide(value: Any) -> Any:
    return value.float() if value.dtype.itemsize < 4 else value


def _refuse(wrong: Any, field: str, why: str) -> None:
    if wrong.any():
        place = wrong.nonzero()[0].tolist()
        raise InvalidInput(f"{field}{place} {why}", field=field)


def _shape(value: Any) -> str:
    return str(list(value.shape))


def _check_temperature(temperature: float) -> None:
    if not 0 < temperature < math.inf:
        raise InvalidInput(f"temperature is {temperature}; expected more than 0 and finite", field="temperature")


def _check_beta(beta: float) -> None:
    if not 0 <= beta < math.inf:
        raise InvalidInput(f"beta is {beta}; expected at least 0 and finite", field="beta")
