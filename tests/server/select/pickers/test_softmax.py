"""softmax: what beta does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.select.pickers.softmax import Softmax
from pools import pool_of

SCORES = np.array([0.9, 0.7, 0.2, -0.4], np.float32)
ROWS = 20_000


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_one_is_drawn_in_proportion_to_exp_beta_score(beta: float) -> None:
    picks = Softmax(beta, 4).pick(pool_of(np.tile(SCORES, (ROWS, 1))), 1)
    want = np.array([math.exp(beta * score) for score in SCORES])
    often = np.bincount(picks.places[:, 0], minlength=4) / ROWS
    np.testing.assert_allclose(often, want / want.sum(), atol=4 * 0.5 / math.sqrt(ROWS))


@pytest.mark.parametrize("beta", [1e6, 1e308])
def test_a_high_beta_is_top(beta: float) -> None:
    scores = 100 * np.tile(SCORES, (50, 1))  # inner products have any size
    assert (Softmax(beta, 4).pick(pool_of(scores), 2).places == [0, 1]).all()


def test_the_seed_decides() -> None:
    scores = np.tile(np.linspace(1, 0, 40), (100, 1))
    first, again, other = (
        Softmax(1.0, 40).pick(pool_of(scores, seeds=np.full(100, seed, np.uint64)), 5).places for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any(axis=1).mean() > 0.9


def test_parameters() -> None:
    assert Softmax.read(policy_pb2.Softmax(beta=2.5, pool=64)) == Softmax(2.5, 64)
    assert [Softmax(1.0).wanted(k) for k in (4, 100)] == [128, 800]
    for beta in (-1, math.nan, math.inf):
        with pytest.raises(InvalidInput, match=r"policy\.softmax\.beta is"):
            Softmax(beta)
    with pytest.raises(InvalidInput, match=r"policy\.softmax\.pool is 7 and k is 8"):
        Softmax(1.0, 7).check(8, 1000)
    with pytest.raises(TooLarge, match=r"policy\.softmax\.pool is 1001"):
        Softmax(1.0, 1001).check(8, 1000)
