"""simans: how often each is drawn, by its distance from the positive's score."""

from __future__ import annotations

import math

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput
from negmine_server.select.pickers.simans import Simans
from pools import pool_of

ROWS = 20_000


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.5, 0.0), (20.0, 0.1), (20.0, -0.1)])
def test_one_is_drawn_in_proportion(a: float, b: float) -> None:
    scores, positive = np.array([0.9, 0.6, 0.5, 0.1], np.float32), np.float32(0.55)
    pool = pool_of(np.tile(scores, (ROWS, 1)), positive_scores=np.full(ROWS, positive))
    picks = Simans(a, b, 4).pick(pool, 1)
    want = np.array([math.exp(-a * (float(score) - float(positive) - b) ** 2) for score in scores])
    often = np.bincount(picks.places[:, 0], minlength=4) / ROWS
    np.testing.assert_allclose(often, want / want.sum(), atol=4 * 0.5 / math.sqrt(ROWS))


def test_sharp_ones_take_the_closest_to_the_offset() -> None:
    scores = np.tile(np.linspace(1, -1, 21, dtype=np.float32), (20, 1))
    pool = pool_of(scores, positive_scores=np.full(20, 0.5, np.float32))
    places = Simans(1e7, -0.2, 21).pick(pool, 3).places
    assert (places == [6, 7, 8]).all()  # 0.4, 0.3, 0.2
    assert (Simans(1e300, 1e200, 21).pick(pool, 3).places >= 0).all()


def test_without_a_positive_nothing_is_picked() -> None:
    picks = Simans(0.5, 0, 4).pick(pool_of([[0.5, 0.4, 0.3, 0.2]] * 2, positive_scores=np.float32([np.nan, 0.5])), 2)
    assert picks.places[0].tolist() == [-1, -1]
    assert (picks.places[1] >= 0).all()
    assert Simans(0.5, 0).needs_positive


def test_parameters() -> None:
    assert Simans.read(policy_pb2.Simans(a=0.5, b=-0.1, pool=40)) == Simans(0.5, -0.1, 40)
    for bad in ({"a": -0.1, "b": 0}, {"a": math.inf, "b": 0}, {"a": 1, "b": math.nan}, {"a": 1, "b": -math.inf}):
        with pytest.raises(InvalidInput, match=r"policy\.simans\.[ab] is"):
            Simans(**bad)


def test_offsets_out_of_reach_still_pick_what_is_there() -> None:
    scores = np.tile(np.linspace(1, -1, 21, dtype=np.float32), (2, 1))
    pool = pool_of(scores, counts=[5, 9], positive_scores=np.full(2, 0.5, np.float32))
    for a in (0, 1e300):
        places = Simans(a, 1e300, 21).pick(pool, 7).places
        assert (places >= 0).sum(axis=1).tolist() == [5, 7]
        assert (places < [[5], [9]]).all()
