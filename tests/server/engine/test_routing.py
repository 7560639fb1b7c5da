"""Which shard an id belongs to: even, fixed for ever, and split by the next bit when shards double."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.engine.routing import SHARDS_MAX, shard_of

IDS = np.arange(100_000, dtype=np.int64)


@pytest.mark.parametrize("shards", [1, 2, 8, SHARDS_MAX])
def test_ids_are_spread_evenly(shards: int) -> None:
    counts = np.bincount(shard_of(IDS, shards), minlength=shards)
    assert len(counts) == shards
    assert abs(counts - 100_000 / shards).max() < 6 * np.sqrt(100_000 / shards) + 1


def test_growth_splits_a_shard_by_the_next_bit() -> None:
    shards = 1
    while shards < SHARDS_MAX:
        np.testing.assert_array_equal(shard_of(IDS, 2 * shards) >> 1, shard_of(IDS, shards))
        shards *= 2


def test_the_map_never_changes() -> None:
    ids = np.array([0, 1, 2, 3, 12_345, 2**63 - 1], np.int64)
    assert shard_of(ids, 256).tolist() == [0, 86, 219, 30, 243, 90]
