"""unremix: the three terms against plain Python, scaling, weights."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput
from negmine_server.select.likeness import of_vectors
from negmine_server.select.pickers.unremix import Unremix
from negmine_server.select.policy import Pool
from pools import pool_of, random_pool

POOL = random_pool([20, 20, 13, 3, 0, 20, 1], 20)


def scaled(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [0.0 if high - low <= 1e-6 else (value - low) / (high - low) for value in values]


def importance(pool: Pool, row: int, policy: Unremix) -> list[float]:
    n = int(pool.counts[row])
    if n == 0:
        return []
    s = [float(score) for score in pool.scores[row, :n]]
    total = sum(math.exp(value / policy.tau) for value in s)
    p = [math.exp(value / policy.tau) / total for value in s]
    u = [abs(p[j] - (j == p.index(max(p)))) for j in range(n)]
    if pool.uncertainties is not None:
        stored = pool.uncertainties[row].tolist()
        u = [u[j] if math.isnan(stored[j]) else stored[j] for j in range(n)]
    z = pool.likeness.values[pool.likeness.rows[row]].astype(float)  # type: ignore[union-attr]
    r = [sum(float(np.linalg.norm(z[j] - z[k])) for k in range(n) if k != j) / max(n - 1, 1) for j in range(n)]
    parts = (policy.lambda_uncertainty, policy.lambda_similarity, policy.lambda_representativeness)
    terms = zip(scaled(u), scaled(s), scaled(r), strict=True)
    return [sum(a * b for a, b in zip(parts, each, strict=True)) / sum(parts) for each in terms]


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("parts", [(1, 0, 0), (0, 2, 0), (0, 0, 3), (0.5, 0.2, 0.3)])
def test_the_most_important_with_their_weights(parts: tuple[float, float, float], stored: bool) -> None:
    pool = POOL if stored else replace(POOL, uncertainties=None)
    policy, k = Unremix(*parts, tau=0.2, pool=20), 6
    picks = policy.pick(pool, k)
    assert picks.weights is not None
    for row in range(len(pool.counts)):
        h = importance(pool, row, policy)
        got = picks.places[row, : min(k, len(h))].tolist()
        assert picks.places[row, len(got) :].tolist() == [-1] * (k - len(got))
        np.testing.assert_allclose([h[j] for j in got], sorted(h, reverse=True)[: len(got)], atol=1e-5)
        total = sum(h[j] for j in got)
        want = [len(got) * h[j] / total if total else 1.0 for j in got]
        np.testing.assert_allclose(picks.weights[row, : len(got)], want, atol=1e-3)
        assert not picks.weights[row, len(got) :].any()


def test_the_whole_pool_with_weights() -> None:
    policy = Unremix(1, 1, 1, 0.1, 20, weights_only=True)
    assert (policy.width(4), Unremix(1, 1, 1, 0.1, 20).width(4)) == (20, 4)
    picks = policy.pick(POOL, 4)
    assert picks.weights is not None
    for row, count in enumerate(POOL.counts.tolist()):
        h = np.array(importance(POOL, row, policy))
        assert picks.places[row].tolist() == [*range(count), *[-1] * (20 - count)]
        want = h * count / h.sum() if h.sum() else np.ones(count)
        np.testing.assert_allclose(picks.weights[row, :count], want, atol=1e-3)


def test_terms_that_are_constant_say_nothing() -> None:
    copies = of_vectors(np.zeros((1, 5), np.int64), np.random.default_rng(0).random((1, 300), np.float32))
    pool = pool_of([[0.5] * 5], likeness=copies)
    for parts in ((0, 1, 0), (0, 0, 1), (0, 1, 1)):
        picks = Unremix(*parts, tau=1, pool=5).pick(pool, 3)
        assert picks.places.tolist() == [[0, 1, 2]]  # equals in rank order
        assert picks.weights is not None
        assert picks.weights.tolist() == [[1, 1, 1]]


@pytest.mark.parametrize("tau", [1e-300, 1e300])
def test_any_temperature(tau: float) -> None:
    picks = Unremix(1, 0, 0, tau, 20).pick(replace(POOL, uncertainties=None), 20)
    assert picks.weights is not None
    assert np.isfinite(picks.weights).all()


def test_what_is_read_depends_on_the_parts() -> None:
    seen = [(policy.reads_uncertainties, policy.compares) for policy in (
        Unremix(1, 0, 0, 1, 8), Unremix(0, 1, 0, 1, 8), Unremix(0, 0, 1, 1, 8))]  # fmt: skip
    assert seen == [(True, False), (False, False), (False, True)]


def test_parameters() -> None:
    message = policy_pb2.Unremix(
        lambda_uncertainty=1, lambda_similarity=2, lambda_representativeness=3, tau=0.1, pool=9, weights_only=True
    )
    assert Unremix.read(message) == Unremix(1, 2, 3, 0.1, 9, weights_only=True)
    with pytest.raises(InvalidInput, match=r"are all 0"):
        Unremix(0, 0, 0, 1, 9)
    for place, bad in ((0, -1), (1, math.nan), (2, math.inf), (3, 0), (3, -1), (3, math.nan)):
        values = [1.0, 1.0, 1.0, 1.0]
        values[place] = bad
        with pytest.raises(InvalidInput, match=r"policy\.unremix\.(lambda_\w+|tau) is"):
            Unremix(*values, pool=9)
    assert Unremix(1e308, 1e308, 1e308, 1, 20).pick(POOL, 3).places.shape == (7, 3)
    for weights_only in (False, True):
        with pytest.raises(InvalidInput, match=r"policy\.unremix\.pool is 7 and k is 8"):
            Unremix(1, 1, 1, 1, 7, weights_only).check(8, 100)
