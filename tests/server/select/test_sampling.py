"""Gumbel top-k: how often each is drawn, what the weights estimate, and that chance hangs on the item."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from negmine_server.select.policy import Pool, keys_of, taken
from negmine_server.select.sampling import gumbel, sample
from pools import pool_of

LOG_WEIGHTS = [0.0, 1.5, -1.0, 0.5, 2.0]
ROWS = 40_000


def keys(rows: int, width: int, seed: int = 0) -> np.ndarray:
    anchors = np.arange(rows, dtype=np.uint64)
    return keys_of(anchors, np.full(rows, seed, np.uint64), np.tile(np.arange(width), (rows, 1)))


def drawn_one_after_the_other(log_weights: list[float], k: int) -> list[float]:
    """Probability of each to be among k draws without replacement."""
    weights, inside = [math.exp(value) for value in log_weights], [0.0] * len(log_weights)
    for order in itertools.permutations(range(len(weights)), k):
        left, chance = sum(weights), 1.0
        for item in order:
            chance *= weights[item] / left
            left -= weights[item]
        for item in order:
            inside[item] += chance
    return inside


@pytest.mark.parametrize("k", [1, 2, 4])
def test_each_is_drawn_as_often_as_its_weight_says(k: int) -> None:
    tiled = np.tile(LOG_WEIGHTS, (ROWS, 1))
    picks = sample(tiled, np.ones(tiled.shape, bool), keys(*tiled.shape), k)
    often = np.bincount(picks.places.reshape(-1), minlength=len(LOG_WEIGHTS)) / ROWS
    np.testing.assert_allclose(often, drawn_one_after_the_other(LOG_WEIGHTS, k), atol=4 * 0.5 / math.sqrt(ROWS))


def test_weights_estimate_means_over_all_that_could_be_drawn() -> None:
    random = np.random.default_rng(0)
    log_weights = np.tile(random.normal(0, 1, 60), (4000, 1))
    values = log_weights[0] + random.normal(0, 0.3, 60)  # what is likely to be drawn is high: a plain mean is wrong
    picks = sample(log_weights, np.ones(log_weights.shape, bool), keys(*log_weights.shape), 30)
    assert picks.weights is not None
    estimates = (picks.weights * values[picks.places]).mean(axis=1)
    assert abs(values[picks.places].mean() - values.mean()) > 0.4
    assert abs(estimates.mean() - values.mean()) < 0.05  # a ratio of unbiased estimates: a little biased itself
    np.testing.assert_allclose(picks.weights.mean(axis=1), 1, rtol=1e-6)


def test_weights_are_inverse_probabilities_of_passing_the_threshold() -> None:
    random = np.random.default_rng(1)
    log_weights, k = random.normal(0, 2, (50, 9)), 4
    noise = gumbel(keys(50, 9))
    picks = sample(log_weights, np.ones((50, 9), bool), keys(50, 9), k)
    assert picks.weights is not None
    inverse_sums = []
    for row in range(50):
        perturbed = [log_weights[row, j] + noise[row, j] for j in range(9)]
        order = sorted(range(9), key=lambda j: -perturbed[j])
        threshold = perturbed[order[k]]
        chosen = sorted(order[:k])
        inverse = [1 / (1 - math.exp(-math.exp(log_weights[row, j] - threshold))) for j in chosen]
        inverse_sums.append(sum(inverse))
        assert picks.places[row].tolist() == chosen
        np.testing.assert_allclose(picks.weights[row], np.array(inverse) * k / sum(inverse), rtol=1e-5)
    # Unbiased for the number of all before it is normalised.
    wide = np.tile(LOG_WEIGHTS, (ROWS, 1))
    noisy = np.sort(wide + gumbel(keys(*wide.shape)), axis=1)[:, ::-1]
    there = wide + gumbel(keys(*wide.shape)) > noisy[:, [3]]
    estimates = (there / -np.expm1(-np.exp(wide - noisy[:, [3]]))).sum(axis=1)
    assert abs(estimates.mean() - 5) < 4 * estimates.std() / math.sqrt(ROWS)


def test_where_all_are_kept_weights_are_one() -> None:
    among = np.array([[True, False, True, False], [False] * 4, [True] * 4])
    picks = sample(np.tile([0.0, 9, -9, 0], (3, 1)), among, keys(3, 4), 5)
    assert picks.places.tolist() == [[0, 2, -1, -1, -1], [-1] * 5, [0, 1, 2, 3, -1]]
    assert picks.weights is not None
    assert picks.weights.tolist() == [[1, 1, 0, 0, 0], [0] * 5, [1, 1, 1, 1, 0]]


def test_what_is_all_but_impossible_comes_last() -> None:
    log_weights = np.array([[-1e308, 0, -np.inf, 3, -1e200]])
    drawn = [sample(log_weights, np.ones((1, 5), bool), keys(1, 5), k).places[0].tolist() for k in (2, 5)]
    assert drawn == [[1, 3], [0, 1, 2, 3, 4]]


def test_gumbel_numbers_are_numbers_to_the_last_key() -> None:
    assert np.isfinite(gumbel(np.array([0, 1, 2**64 - 1], np.uint64))).all()
    many = gumbel(keys(1000, 40))
    assert abs(many.mean() - 0.5772) < 0.02
    assert abs(many.std() - math.pi / math.sqrt(6)) < 0.02


def test_chance_hangs_on_the_item_not_on_its_place() -> None:
    scores = np.sort(np.random.default_rng(2).random((200, 12)), axis=1)[:, ::-1]
    whole = pool_of(scores)
    picks = drawn(whole, 5)
    unpicked = np.argmax([[place not in row for place in range(12)] for row in picks.tolist()], axis=1)
    kept = np.arange(12) != unpicked[:, None]
    ids, values = whole.ids[kept].reshape(200, 11), whole.scores[kept].reshape(200, 11)
    without = pool_of(values, ids=ids)
    np.testing.assert_array_equal(taken(ids, drawn(without, 5), -1), taken(whole.ids, picks, -1))


def drawn(pool: Pool, k: int) -> np.ndarray:
    random = keys_of(pool.anchor_keys, pool.seeds, pool.ids)
    return sample(3 * pool.scores.astype(np.float64), pool.there, random, k).places
