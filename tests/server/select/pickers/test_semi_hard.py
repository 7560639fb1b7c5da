"""semi_hard: the band against distances in plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput
from negmine_server.select.pickers.semi_hard import SemiHard
from pools import pool_of

SCORES = st.floats(-1, 1, width=32)


@given(SCORES, SCORES, st.floats(0.01, 3))
def test_the_band_is_the_definition(positive: float, score: float, margin: float) -> None:
    high, low = SemiHard(margin).band(np.array([positive], np.float32))
    nearer, farther = (math.sqrt(2 - 2 * value) for value in (positive, score))
    if abs(farther - nearer - margin) < 1e-12:
        return  # on the edge to float64's last digits
    inside = score < positive and farther <= nearer + margin  # the lower score is the longer distance
    assert bool(low[0] <= np.float32(score) <= high[0]) == inside


def test_estimates_beyond_unit_vectors() -> None:
    high, low = SemiHard(0.2).band(np.array([1.2, -1.2, np.nan], np.float32))
    assert high[0] == np.nextafter(np.float32(1), np.float32(0))
    assert low[0] == pytest.approx(0.98)
    assert (high[1], low[1]) == (np.nextafter(np.float32(-1), np.float32(-2)), -np.inf)
    assert (high[2], low[2]) == (-np.inf, np.inf)


def test_the_nearest_are_taken() -> None:
    policy = SemiHard(0.2)
    assert policy.wanted(3) == 3
    assert policy.needs_positive
    assert policy.cosine_only
    picks = policy.pick(pool_of([[0.5, 0.4, 0.3]] * 2, [3, 1]), 2)
    assert (picks.places.tolist(), picks.weights) == ([[0, 1], [0, -1]], None)


def test_parameters() -> None:
    assert SemiHard.read(policy_pb2.SemiHard(margin=0.5)) == SemiHard(0.5)
    for margin in (0, -0.1, math.nan, math.inf):
        with pytest.raises(InvalidInput, match=r"policy\.semi_hard\.margin is"):
            SemiHard(margin)
