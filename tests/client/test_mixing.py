"""Hard-negative mixing: what is mixed, with how much of what, and from too few negatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from negmine import InvalidInput
from negmine.mixing import mochi


def plain(array: np.ndarray) -> Any:
    return array


def tensor(array: np.ndarray) -> Any:
    torch = pytest.importorskip("torch", reason="tensors in, tensors out")
    return torch.from_numpy(array)


kinds = pytest.mark.parametrize("kind", [plain, tensor])


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return made / np.linalg.norm(made, axis=-1, keepdims=True)


def axes(k: int) -> tuple[np.ndarray, np.ndarray]:
    """One anchor on the last axis, its negatives on the others: shares can be read off a mixture."""
    table = np.eye(k + 1, dtype=np.float32)
    return table[None, -1], table[None, :-1]


@kinds
def test_pairs_and_mixtures_with_the_anchor(kind: Callable[[np.ndarray], Any]) -> None:
    anchors, negatives = axes(6)
    made = mochi(kind(anchors), kind(negatives), pairs=500, with_anchor=400)
    assert type(made.embeddings) is type(kind(anchors))
    got, mask = np.asarray(made.embeddings), np.asarray(made.mask)
    assert got.shape == (1, 900, 7)
    assert got.dtype == np.float32
    assert mask.all()
    np.testing.assert_allclose(np.linalg.norm(got, axis=-1), 1, rtol=1e-5)
    pairs, mixed = got[0, :500], got[0, 500:]
    assert ((pairs > 0).sum(1) == 2).all()
    assert (pairs[:, -1] == 0).all()
    shares = pairs.max(1) / pairs.sum(1)
    assert shares.min() < 0.52
    assert shares.max() > 0.97
    assert len(np.unique(pairs > 0, axis=0)) == 15  # every pair of 6
    beta = mixed[:, -1] / mixed.sum(1)
    assert ((mixed[:, :-1] > 0).sum(1) == 1).all()
    assert beta.max() < 0.5
    assert beta.mean() == pytest.approx(0.25, abs=0.02)
    assert np.quantile(beta, 0.95) > 0.45


def test_the_same_with_torch_and_numpy_and_seed() -> None:
    anchors, negatives = unit(4, 8), unit(4, 5, 8, seed=1)
    one, same, other = (
        mochi(kind(anchors), kind(negatives), pairs=7, with_anchor=3, seed=seed).embeddings
        for kind, seed in ((plain, 5), (tensor, 5), (plain, 6))
    )
    np.testing.assert_allclose(one, np.asarray(same), atol=1e-6)
    assert not np.allclose(one, other)


@kinds
def test_only_the_hardest_are_mixed(kind: Callable[[np.ndarray], Any]) -> None:
    anchors, negatives = axes(6)
    scores = np.array([[0.1, 0.9, np.nan, 0.5, 0.8, 0.2]], np.float32)
    mask = kind(~np.isnan(scores))
    got = mochi(
        kind(anchors), kind(negatives), pairs=60, with_anchor=60, hardest=3, scores=kind(scores), mask=mask
    ).embeddings
    used = (np.asarray(got)[0, :, :-1] > 0).any(0)
    assert used.tolist() == [False, True, False, True, True, False]
    first = mochi(kind(anchors), kind(negatives), pairs=9, with_anchor=9, hardest=2).embeddings
    assert (np.asarray(first)[0, :, :-1] > 0).any(0).tolist() == [True, True, False, False, False, False]


@kinds
def test_too_few_negatives_make_none(kind: Callable[[np.ndarray], Any]) -> None:
    negatives = unit(3, 4, 8)
    mask = np.arange(4) < np.array([[0], [1], [2]])
    negatives[~mask] = np.nan  # whatever lies there
    made = mochi(kind(unit(3, 8, seed=2)), kind(negatives), pairs=3, with_anchor=2, mask=kind(mask))
    got = np.asarray(made.mask)
    assert got.tolist() == [[False] * 5, [False] * 3 + [True] * 2, [True] * 5]
    held = np.asarray(made.embeddings)
    assert np.isfinite(held).all()
    np.testing.assert_allclose(np.linalg.norm(held, axis=-1), got, atol=1e-5)


def test_opposite_negatives_do_not_divide_by_zero() -> None:
    negatives = np.zeros((1, 2, 3), np.float32)
    made = mochi(unit(1, 3), negatives, pairs=2, with_anchor=0)
    assert not made.mask.any()
    assert not made.embeddings.any()


def test_no_gradient_flows_and_half_precision_is_widened() -> None:
    anchors, negatives = tensor(unit(2, 8)).half().requires_grad_(), tensor(unit(2, 3, 8)).half().requires_grad_()
    made = mochi(anchors, negatives, pairs=2, with_anchor=2)
    assert not made.embeddings.requires_grad
    assert made.embeddings.dtype.itemsize == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta_max": 0.6}, "beta_max is 0.6; expected more than 0, at most 0.5"),
        ({"beta_max": math.nan}, "beta_max is nan"),
        ({"pairs": -1}, "pairs is -1"),
        ({"hardest": 1.5}, "hardest is 1.5"),
        ({"anchors": unit(3, 8)}, r"anchors are \[3, 8\] and embeddings \[2, 4, 8\]"),
        ({"embeddings": unit(2, 8)}, r"embeddings \[2, 8\]"),
        ({"embeddings": np.full((2, 4, 8), np.nan)}, r"embeddings\[0, 0\] is not finite"),
        ({"anchors": np.full((2, 8), np.inf)}, r"anchors\[0\] is not finite"),
        ({"scores": np.full((2, 4), np.nan)}, r"scores\[0, 0\] is NaN"),
        ({"scores": np.zeros((2, 3))}, r"scores is \[2, 3\]; expected \[2, 4\]"),
        ({"mask": np.ones(2, np.bool_)}, r"mask is \[2\]; expected \[2, 4\]"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"anchors": unit(2, 8), "embeddings": unit(2, 4, 8), "pairs": 2, "with_anchor": 2}
    with pytest.raises(InvalidInput, match=message):
        mochi(**(good | change))


def test_kinds_are_not_mixed() -> None:
    with pytest.raises(InvalidInput, match="differ in kind or device"):
        mochi(tensor(unit(2, 8)), unit(2, 4, 8), pairs=1, with_anchor=1)
