"""Seconds from the command to SERVING with 1e6 rows in a snapshot; the kernels' cache is warm."""

from __future__ import annotations

from statistics import median

import negmine
from harness.corpus import DIMENSION, check_codes, upsert_codes
from harness.result import Result
from harness.server import Server

ROWS = 1_000_000
BITS = 256
RUNS = 5
TARGET_S = 3.0


def run(scale: float) -> list[Result]:
    """`start.1e6`: median of several starts, each after a SIGKILL."""
    rows = int(ROWS * scale)
    seconds: list[float] = []
    with Server() as server:
        server.kill()
        empty = server.start()
        with negmine.Client(server.target) as client:
            collection = client.create_collection("bench", DIMENSION, bits=BITS)
            upsert_codes(collection, rows)
            snapshot = collection.snapshot()
        for _ in range(RUNS):
            server.kill()
            seconds.append(server.start())
        with negmine.Client(server.target) as client:
            check_codes(client.collection("bench"), rows)
    params = {
        "rows": rows,
        "bits": BITS,
        "groups": True,
        "runs": RUNS,
        "best": min(seconds),
        "worst": max(seconds),
        "empty_s": empty,
        "snapshot_bytes": snapshot.size_bytes,
    }
    return [Result("start.1e6", median(seconds), "s", "lower", TARGET_S, params=params)]
