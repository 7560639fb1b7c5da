"""A server's collections as the recall and growth benchmarks use them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import negmine
import numpy as np
from numpy.typing import NDArray

BATCH_ROWS = 16_384
POLL_S = 0.5
STILL_S = 3.0
SETTLE_S = 900.0


def fill(collection: negmine.Collection, blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> float:
    """Upserts blocks of ids and embeddings; returns the seconds until the server has settled over them."""
    begin = time.perf_counter()
    with collection.writer(batch_rows=BATCH_ROWS, timeout_s=SETTLE_S) as writer:
        for ids, rows in blocks:
            writer.send(ids, rows)
    settle(collection)
    return time.perf_counter() - begin


def settle(collection: negmine.Collection) -> None:
    """Waits until the server's work in the background is over: its counts stay the same for some seconds."""
    begin = still = time.perf_counter()
    seen: Any = None
    while time.perf_counter() - still < STILL_S:
        stats = collection.stats()
        now = [(shard.rows, shard.dead_rows, shard.bucket_rows) for shard in stats.shards]
        if now != seen:
            seen, still = now, time.perf_counter()
        if still - begin > SETTLE_S:
            raise RuntimeError(f"the server has not settled after {SETTLE_S:.0f} s")
        time.sleep(POLL_S)


def scan_ms(found: negmine.Negatives) -> float:
    """The server's time in scan and rescoring."""
    return found.timings_ms["scan"] + found.timings_ms.get("rescore", 0.0)


def memory_bytes(collection: negmine.Collection) -> int:
    """By the server's own account."""
    return sum(sum(shard.memory_bytes.values()) for shard in collection.stats().shards)
