"""distance_weighted: the formula in plain Python, and what has no weight."""

from __future__ import annotations

import math

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput
from negmine_server.select.pickers.distance_weighted import DistanceWeighted
from pools import pool_of

ROWS = 20_000


def weight(score: float, n: int, cutoff: float, nonzero_loss_cutoff: float) -> float:
    distance = math.sqrt(2 - 2 * score)
    if distance >= nonzero_loss_cutoff:
        return 0.0
    d = max(distance, cutoff)
    return math.exp((2 - n) * math.log(d) - (n - 3) / 2 * math.log(1 - d * d / 4))


@pytest.mark.parametrize("n", [2, 3, 16])
def test_one_is_drawn_in_proportion_to_the_inverse_density(n: int) -> None:
    scores = np.array([0.97, 0.9, 0.6, 0.35, 0.3, -0.2], np.float32)  # the last is farther than 1.4
    pool = pool_of(np.tile(scores, (ROWS, 1)), dimension=n)
    picks = DistanceWeighted(pool=6).pick(pool, 1)
    want = np.array([weight(float(score), n, 0.5, 1.4) for score in scores])
    assert want[-1] == 0
    often = np.bincount(picks.places[:, 0], minlength=6) / ROWS
    np.testing.assert_allclose(often, want / want.sum(), atol=4 * 0.5 / math.sqrt(ROWS))


def test_what_has_no_weight_is_never_picked() -> None:
    policy = DistanceWeighted(pool=8)
    pool = pool_of(np.tile([1.0000001, 0.5, 0.2, 0.021, 0.019, 0.0, -0.5, -1.1], (100, 1)), dimension=512)
    picks = policy.pick(pool, 7)
    assert (picks.places == [0, 1, 2, 3, -1, -1, -1]).all()
    high, low = policy.band(np.zeros(1, np.float32))
    assert np.isposinf(high[0])
    for score in (low[0], np.nextafter(low[0], np.float32(-1))):
        assert (math.sqrt(2 - 2 * float(score)) < 1.4) == (score == low[0])


def test_parameters() -> None:
    read = DistanceWeighted.read
    assert read(policy_pb2.DistanceWeighted()) == DistanceWeighted(0.5, 1.4, 0)
    assert read(policy_pb2.DistanceWeighted(cutoff=0.1, nonzero_loss_cutoff=1, pool=9)) == DistanceWeighted(0.1, 1, 9)
    with pytest.raises(InvalidInput, match=r"cutoff is 0; expected"):
        read(policy_pb2.DistanceWeighted(cutoff=0))
    for bad in ({"cutoff": math.nan}, {"nonzero_loss_cutoff": 2.1}, {"nonzero_loss_cutoff": math.inf}):
        with pytest.raises(InvalidInput, match=r"policy\.distance_weighted\.\w*cutoff is"):
            DistanceWeighted(**bad)
    with pytest.raises(InvalidInput, match=r"cutoff is 1\.4; expected .* below nonzero_loss_cutoff, which is 1\.4"):
        DistanceWeighted(cutoff=1.4)
    assert DistanceWeighted().cosine_only
    assert DistanceWeighted().wanted(4) == 128
