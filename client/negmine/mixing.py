"""Hard-negative mixing (MoCHi): harder negatives made of those that mining returned, at the trainer.

    from negmine import losses, mixing

    made = mixing.mochi(anchors, found.embeddings, mask=losses.present(found), scores=found.scores,
                        pairs=64, with_anchor=16, seed=step)
    scores = torch.einsum("bd,bsd->bs", anchors, made.embeddings)  # beside those of the mined ones; mask: made.mask

Read: h = normalize(alpha n_i + (1 - alpha) n_j) of two of the hardest negatives, and h' = normalize(beta q +
(1 - beta) n_i) with the anchor, beta < 0.5 so that the negative prevails; each has an alpha or beta of its own, drawn
uniformly from [0, 1) and [0, 0.5) (the draw as in code written after the paper). Rebuilt: the two of a pair are never
the same one, an anchor with fewer negatives than `hardest` mixes those that it has, and no gradient flows through what
was mixed. The sizes of the paper's experiments were not read, so there are no defaults for them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from negmine import _arrays
from negmine._exceptions import InvalidInput
from negmine._results import Array
from negmine._scalars import unsigned

BETA_MAX: Final = 0.5
I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Mixtures:
    """Synthetic negatives of B anchors, of the kind that the embeddings were, on their device.

    Attributes:
        embeddings: [B, pairs + with_anchor, d], of unit length: those of pairs, then those with the anchor; zero where
            the mask is False. Float32 at least.
        mask: bool [B, pairs + with_anchor]: whether there is one. An anchor needs two negatives for pairs, and one for
            a mixture with itself.
    """

    embeddings: Array
    mask: Array


def mochi(
    anchors: Array,
    embeddings: Array,
    *,
    pairs: int,
    with_anchor: int,
    hardest: int = 0,
    mask: Array | None = None,
    scores: Array | None = None,
    beta_max: float = BETA_MAX,
    seed: int = 0,
) -> Mixtures:
    """Mixes each anchor's negatives with each other and with the anchor.

    Args:
        anchors: [B, d], q, of unit length; numpy or torch.
        embeddings: [B, k, d], n, of the same kind: `Negatives.embeddings`, or embedded anew.
        pairs: mixtures of two negatives an anchor (s in the paper).
        with_anchor: mixtures of anchor and negative (s').
        hardest: how many of the anchor's negatives are mixed (N); 0 = all.
        mask: bool [B, k], where there is a negative; None = everywhere. `losses.present` gives that of `Negatives`.
        scores: [B, k], which are the hardest; unset, those that come first.
        beta_max: beta is drawn from [0, beta_max); above 0, at most 0.5.
        seed: of every draw: the same with numpy and torch.

    Raises:
        InvalidInput: a shape is wrong, a number is out of range, or a score or vector that is used is not finite.
    """
    if not 0 < beta_max <= BETA_MAX:
        raise InvalidInput(f"beta_max is {beta_max}; expected more than 0, at most {BETA_MAX}", field="beta_max")
    table, device = _table(anchors, embeddings)
    anchor = table.shape[1] - 1  # the column of the anchor itself, after those of its negatives
    ranked, count = _ranked(_checked(table, mask, scores), scores, unsigned(hardest, "hardest"))
    sizes = [unsigned(pairs, "pairs"), unsigned(with_anchor, "with_anchor")]
    random = np.random.default_rng(unsigned(seed, "seed", bits=64))
    shape = (len(count), sum(sizes))
    of_pair = np.arange(shape[1]) < sizes[0]
    made = np.where(of_pair, 2, 1) <= count[:, None]

    left = random.integers(0, np.maximum(count, 1)[:, None], shape)
    apart = random.integers(1, np.maximum(count, 2)[:, None], shape)
    right = np.where(of_pair, (left + apart) % np.maximum(count, 1)[:, None], left)
    rows = np.arange(len(count))[:, None]
    one = np.where(made & of_pair, ranked[rows, left], anchor)
    other = np.where(made, ranked[rows, right], anchor)
    share = random.random(shape) * np.where(of_pair, 1.0, beta_max)
    return _mixed(table, [_arrays.to_device(x, device) for x in (rows, one, other, share.astype(np.float32), made)])


def _table(anchors: Array, embeddings: Array) -> tuple[Any, Any | None]:
    """Negatives and anchors as columns [B, k + 1, d], and the torch device; None = numpy."""
    device = _arrays.device_of(embeddings)
    if _arrays.device_of(anchors) != device:
        raise InvalidInput("anchors and embeddings differ in kind or device; expected the same", field="anchors")
    if device is None:
        anchors, embeddings = np.asarray(anchors), np.asarray(embeddings)
    if embeddings.ndim != 3 or tuple(anchors.shape) != (embeddings.shape[0], embeddings.shape[2]):
        raise InvalidInput(
            f"anchors are {list(anchors.shape)} and embeddings {list(embeddings.shape)}; expected [B, d] and [B, k, d]",
            field="embeddings",
        )
    if device is None:
        return np.concatenate([embeddings, anchors[:, None]], 1), None
    return sys.modules["torch"].cat([embeddings.detach(), anchors.detach()[:, None]], 1), device


def _checked(table: Any, mask: Array | None, scores: Array | None) -> NDArray[np.bool_]:
    """The mask [B, k], where all that is used is finite."""
    shape = (table.shape[0], table.shape[1] - 1)
    there = np.ones(shape, np.bool_) if mask is None else _host(mask, shape, "mask").astype(np.bool_)
    finite = _host((abs(table) < np.inf).all(-1), table.shape[:2], "embeddings").astype(np.bool_)
    if len(wrong := np.argwhere(~finite[:, :-1] & there)):
        raise InvalidInput(f"embeddings{wrong[0].tolist()} is not finite", field="embeddings")
    if len(wrong := np.argwhere(~finite[:, -1])):
        raise InvalidInput(f"anchors{wrong[0].tolist()} is not finite", field="anchors")
    if scores is not None and len(wrong := np.argwhere(np.isnan(_host(scores, shape, "scores")) & there)):
        raise InvalidInput(f"scores{wrong[0].tolist()} is NaN", field="scores")
    return there


def _ranked(there: NDArray[np.bool_], scores: Array | None, hardest: int) -> tuple[I64, I64]:
    """The negatives' columns [B, k], hardest first, and how many of them [B] are mixed."""
    keys = np.where(there, 0.0 if scores is None else -_host(scores, there.shape, "scores"), np.inf)
    count = there.sum(1)
    return np.argsort(keys, axis=1, kind="stable"), np.minimum(count, hardest) if hardest else count


def _mixed(table: Any, drawn: list[Any]) -> Mixtures:
    """Unit vectors of share * one + (1 - share) * other where they are made, zero elsewhere."""
    rows, one, other, share, made = drawn
    share = share[..., None]
    sums = share * table[rows, one] + (1 - share) * table[rows, other]
    lengths = (sums * sums).sum(-1)[..., None] ** 0.5
    made = made & (lengths[..., 0] > 0)  # two that are opposite may cancel out
    return Mixtures(sums / (lengths + (lengths == 0)) * made[..., None], made)


def _host(value: Array, shape: tuple[int, ...], field: str) -> NDArray[Any]:
    """The value as a numpy array of the shape."""
    held = value.detach().cpu().float().numpy() if _arrays.is_torch(value) else np.asarray(value)
    if held.shape != shape:
        raise InvalidInput(f"{field} is {list(held.shape)}; expected {list(shape)}", field=field)
    return held
