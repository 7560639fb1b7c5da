"""Losses against the formulas written out, their limits, gradients, and rows that are not full."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from negmine import InvalidInput, losses

torch = pytest.importorskip("torch", reason="losses are made of torch tensors")

ALL: dict[str, Callable[..., Any]] = {
    "info_nce": partial(losses.info_nce, temperature=0.3),
    "weighted": lambda p, n, mask=None: losses.info_nce(p, n, temperature=0.3, mask=mask, weights=torch.ones_like(n)),
    "dcl": partial(losses.dcl, temperature=0.3),
    "hcl": partial(losses.hcl, temperature=0.3, beta=0.7),
    "debiased": partial(losses.debiased, temperature=0.3),
}
every = pytest.mark.parametrize("name", ALL)


def scores(rows: int = 5, k: int = 7, seed: int = 0) -> tuple[Any, Any]:
    """Cosines [rows] and [rows, k] in float64."""
    random = np.random.default_rng(seed)
    return torch.tensor(random.uniform(-1, 1, rows)), torch.tensor(random.uniform(-1, 1, (rows, k)))


def spelt_hcl(s_positive: float, s: list[float], t: float, beta: float, tau_plus: float) -> float:
    positive, negatives = math.exp(s_positive / t), [math.exp(x / t) for x in s]
    importance = [math.exp(beta * x / t) for x in s]
    weighted = sum(i * n for i, n in zip(importance, negatives, strict=True)) / (sum(importance) / len(s))
    below = max((weighted - tau_plus * len(s) * positive) / (1 - tau_plus), len(s) * math.exp(-1 / t))
    return -math.log(positive / (positive + below))


def test_values_by_hand() -> None:
    positive, negative = torch.tensor([math.log(2.0)]), torch.tensor([[0.0, math.log(3.0)]])
    assert losses.info_nce(positive, negative, temperature=1.0).item() == pytest.approx(math.log(6 / 2))
    assert losses.dcl(positive, negative, temperature=1.0).item() == pytest.approx(math.log(4 / 2))
    weights = torch.tensor([[3.0, 1.0]])  # 3/2 and 1/2 once their mean is 1: 3/2 + 3/2
    assert losses.info_nce(positive, negative, temperature=1.0, weights=weights).item() == pytest.approx(
        math.log(5 / 2)
    )
    assert losses.dcl(positive, negative, temperature=1.0, weights=weights).item() == pytest.approx(math.log(3 / 2))


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("tau_plus", [0.0, 0.1, 0.6])
@pytest.mark.parametrize("t", [0.1, 0.5])
def test_hcl_is_its_formula(beta: float, tau_plus: float, t: float) -> None:
    positive, negative = scores()
    wanted = np.mean(
        [spelt_hcl(s, row, t, beta, tau_plus) for s, row in zip(positive.tolist(), negative.tolist(), strict=True)]
    )
    got = losses.hcl(positive, negative, temperature=t, beta=beta, tau_plus=tau_plus)
    assert got.item() == pytest.approx(wanted, rel=1e-9)


def test_limits_of_hcl() -> None:
    positive, negative = scores()
    plain = losses.info_nce(positive, negative, temperature=0.4)
    assert losses.hcl(positive, negative, temperature=0.4, beta=0, tau_plus=0).item() == pytest.approx(plain.item())
    debiased = losses.debiased(positive, negative, temperature=0.4, tau_plus=0.2)
    assert losses.hcl(positive, negative, temperature=0.4, beta=0, tau_plus=0.2).item() == debiased.item()
    assert debiased.item() != pytest.approx(plain.item())
    weights = losses.hcl_weights(negative, temperature=0.4, beta=2)
    by_weights = losses.info_nce(positive, negative, temperature=0.4, weights=weights)
    hard = losses.hcl(positive, negative, temperature=0.4, beta=2, tau_plus=0)
    assert by_weights.item() == pytest.approx(hard.item(), rel=1e-6)


@every
def test_gradients(name: str) -> None:
    positive, negative = (x.requires_grad_() for x in scores())
    mask = torch.tensor(np.random.default_rng(1).random((5, 7)) < 0.6)
    mask[2] = False
    assert torch.autograd.gradcheck(lambda p, n: ALL[name](p, n, mask=mask), (positive, negative))


@every
def test_rows_that_are_not_full_are_as_if_shorter(name: str) -> None:
    positive, negative = scores()
    counts = [7, 3, 0, 1, 5]
    mask = torch.arange(7) < torch.tensor(counts)[:, None]
    padded = negative.masked_fill(~mask, math.nan).requires_grad_()
    loss = ALL[name](positive, padded, mask=mask)
    alone = [ALL[name](positive[i : i + 1], negative[i : i + 1, :count]) for i, count in enumerate(counts) if count]
    assert loss.item() == pytest.approx(torch.stack(alone).mean().item())
    loss.backward()
    assert torch.isfinite(padded.grad).all()
    assert (padded.grad[~mask] == 0).all()
    assert (padded.grad[mask] != 0).all()


@every
def test_a_batch_that_is_starved_has_no_loss_and_a_gradient(name: str) -> None:
    positive, negative = (x.requires_grad_() for x in scores())
    loss = ALL[name](positive, negative, mask=torch.zeros(5, 7, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert (positive.grad == 0).all()
    assert (negative.grad == 0).all()


@every
@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_small_temperatures_in_small_types(name: str, kind: str) -> None:
    positive = torch.tensor([1.0, -1.0, 0.9], dtype=getattr(torch, kind), requires_grad=True)
    negative = torch.tensor([[1.0, -1.0], [0.5, 1.0], [-1.0, -1.0]], dtype=positive.dtype)
    calls = {"hcl": losses.hcl, "debiased": losses.debiased, "dcl": losses.dcl}
    loss = calls.get(name, losses.info_nce)(positive, negative, temperature=0.01)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.dtype == torch.float32
    assert torch.isfinite(positive.grad).all()


@pytest.mark.parametrize("loss", [losses.info_nce, losses.dcl])
def test_a_weight_of_zero_leaves_a_negative_out(loss: Callable[..., Any]) -> None:
    positive, negative = scores(3, 4)
    negative.requires_grad_()
    weights = torch.tensor([2.0, 0, 1, 0], dtype=torch.float64).expand(3, 4)
    got = loss(positive, negative, temperature=0.3, weights=weights)
    # The mean of the weights counts those of 0: half as many negatives weigh twice as much.
    others = loss(positive, negative[:, [0, 2]] + 0.3 * math.log(2), temperature=0.3, weights=weights[:, [0, 2]])
    assert got.item() == pytest.approx(others.item())
    got.backward()
    assert (negative.grad[:, [1, 3]] == 0).all()
    assert torch.isfinite(negative.grad).all()


def test_a_temperature_may_be_learnt() -> None:
    temperature = torch.tensor(0.3, requires_grad=True)
    losses.info_nce(*scores(), temperature=temperature).backward()
    assert temperature.grad.isfinite()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_weights_of_hcl(kind: str) -> None:
    held = np.array([[0.9, 0.1, np.nan], [np.nan, np.nan, np.nan], [0.2, 0.2, 0.2]], np.float32)
    mask = ~np.isnan(held)
    given = (torch.tensor(held), torch.tensor(mask)) if kind == "torch" else (held, mask)
    weights = losses.hcl_weights(given[0], temperature=0.5, beta=1, mask=given[1])
    assert isinstance(weights, torch.Tensor if kind == "torch" else np.ndarray)
    ratio = math.exp((0.9 - 0.1) / 0.5)
    wanted = [[2 * ratio / (1 + ratio), 2 / (1 + ratio), 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(np.asarray(weights), wanted, rtol=1e-5)
    ones = losses.hcl_weights(given[0], beta=0, mask=given[1])
    np.testing.assert_array_equal(np.asarray(ones), mask)
    sharp = losses.hcl_weights(given[0], temperature=1e-3, beta=5, mask=given[1])
    np.testing.assert_allclose(np.asarray(sharp), [[2, 0, 0], [0, 0, 0], [1, 1, 1]], atol=1e-6)


def test_in_batch_negatives() -> None:
    anchors, positives = torch.eye(3), torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.2, 1]])
    got, mask = losses.in_batch(anchors, positives)
    assert got.tolist() == pytest.approx(np.array([[1, 0.5, 0], [0, 0.5, 0.2], [0, 0, 1]]))
    assert mask.tolist() == [[False, True, True], [True, False, True], [True, True, False]]
    _, mask = losses.in_batch(anchors, positives, groups=torch.tensor([4, 4, -1]))
    assert mask.tolist() == [[False, False, True], [False, False, True], [True, True, False]]
    with pytest.raises(InvalidInput, match=r"anchors are \[3, 3\] and positives \[2, 3\]"):
        losses.in_batch(anchors, positives[:2])


def bad(place: str) -> Callable[[], Any]:
    positive, negative = scores(2, 2)
    nan = torch.full((2, 2), math.nan)
    nce = partial(losses.info_nce, temperature=0.1)
    return {
        "positive NaN": lambda: nce(torch.tensor([0.0, math.nan]), negative),
        "negative NaN": lambda: nce(positive, nan),
        "temperature 0": lambda: losses.dcl(positive, negative, temperature=0),
        "temperature NaN": lambda: losses.hcl(positive, negative, temperature=math.nan),
        "beta": lambda: losses.hcl(positive, negative, beta=-1),
        "tau_plus": lambda: losses.debiased(positive, negative, tau_plus=1),
        "weights 0": lambda: nce(positive, negative, weights=torch.tensor([[1.0, 2], [0, 0]])),
        "weights below 0": lambda: nce(positive, negative, weights=-torch.ones(2, 2)),
        "weights NaN": lambda: nce(positive, negative, weights=nan),
        "weights shape": lambda: nce(positive, negative, weights=torch.ones(2, 3)),
        "mask shape": lambda: nce(positive, negative, mask=torch.ones(2, dtype=torch.bool)),
        "shapes": lambda: nce(positive[:1], negative),
        "numpy": lambda: nce(positive.numpy(), negative.numpy()),
        "scores NaN": lambda: losses.hcl_weights(np.array([[0.0, np.nan]])),
        "scores shape": lambda: losses.hcl_weights(np.zeros(2)),
    }[place]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("positive NaN", r"positive\[1\] is not finite"),
        ("negative NaN", r"negative\[0, 0\] is not finite"),
        ("temperature 0", "temperature is 0; expected more than 0"),
        ("temperature NaN", "temperature is nan"),
        ("beta", "beta is -1; expected at least 0"),
        ("tau_plus", "tau_plus is 1; expected at least 0, below 1"),
        ("weights 0", r"weights\[1\] sums to 0"),
        ("weights below 0", r"weights\[0, 0\] is not finite, or below 0"),
        ("weights NaN", r"weights\[0, 0\] is not finite"),
        ("weights shape", r"weights is \[2, 3\]; expected \[2, 2\]"),
        ("mask shape", r"mask is \[2\]; expected \[2, 2\]"),
        ("shapes", r"positive is \[1\] and negative \[2, 2\]"),
        ("numpy", "scores are ndarray and ndarray; expected torch tensors"),
        ("scores NaN", r"scores\[0, 1\] is nan; expected finite"),
        ("scores shape", r"scores are \[2\] and mask \[2\]"),
    ],
)
def test_bad_input(place: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        bad(place)()
