"""Which shard an id belongs to: the leading bits of a hash of it, so that growth splits a shard by the next bit."""

from __future__ import annotations

import numpy as np

from negmine_server.domain import I64
from negmine_server.hashing import mix

SHARDS_MAX = 256


def shard_of(ids: I64, shards: int) -> I64:
    """The shard [n] of each id, for a number of shards that is a power of two."""
    bits = shards.bit_length() - 1
    if bits == 0:
        return np.zeros(len(ids), np.int64)
    return (mix(ids.astype(np.uint64)) >> np.uint64(64 - bits)).astype(np.int64)
