"""dss: the nearest, then random ones of the other ranks."""

from __future__ import annotations

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.select.pickers.dss import Dss
from pools import pool_of


def test_the_nearest_and_random_ones_of_the_rest() -> None:
    rows = 4000
    picks = Dss(16, 3).pick(pool_of(np.tile(np.linspace(1, 0, 16), (rows, 1))), 8)
    assert picks.weights is None
    assert (picks.places[:, :3] == [0, 1, 2]).all()
    assert (np.diff(picks.places, axis=1) > 0).all()
    often = np.bincount(picks.places[:, 3:].reshape(-1), minlength=16)[3:] / rows
    np.testing.assert_allclose(often, 5 / 13, atol=0.04)


@pytest.mark.parametrize(
    ("nearest", "k", "count", "want"), [(0, 2, 2, [0, 1]), (2, 2, 1, [0, -1]), (3, 4, 4, [0, 1, 2, 3])]
)
def test_pools_that_run_short(nearest: int, k: int, count: int, want: list[int]) -> None:
    places = Dss(6, nearest).pick(pool_of([np.linspace(1, 0, 6)], [count]), k).places
    assert places.tolist() == [want]


def test_parameters() -> None:
    policy = Dss.read(policy_pb2.Dss(pool=128, nearest=32))
    assert policy == Dss(128, 32)
    assert policy.wanted(64) == 128
    policy.check(64, 128)
    with pytest.raises(InvalidInput, match=r"policy\.dss\.nearest is 32 and k is 31"):
        policy.check(31, 128)
    with pytest.raises(InvalidInput, match=r"policy\.dss\.pool is 128 and k is 129"):
        policy.check(129, 1000)
    with pytest.raises(TooLarge, match=r"policy\.dss\.pool is 128"):
        policy.check(64, 127)
