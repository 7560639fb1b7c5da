"""Upsert of 384-d float32 rows over gRPC, durable: server and client are two processes that share the cores.

The peer is the afternoon version: no durability, versions, groups or checks.
"""

from __future__ import annotations

import time
from statistics import median

import negmine
import numpy as np
from harness import afternoon
from harness.corpus import DIMENSION, Rows, glosses
from harness.result import Result
from harness.server import Server

BITS = 256
RUNS = 7
CHECKED = 2_000
TARGET_ROWS_S = 100_000


def run(scale: float) -> list[Result]:
    """`upsert.grpc.float32.384`: median over fresh collections, the peer in between."""
    rows = glosses(scale)
    rates: list[float] = []
    peer_rates: list[float] = []
    with Server() as server:
        for number in range(RUNS):
            with negmine.Client(server.target) as client:
                rates.append(timed(client.create_collection(f"run{number}", DIMENSION, bits=BITS), rows))
            with afternoon.Server("numpy", DIMENSION, BITS) as peer:
                peer.upsert(rows.ids[:1], rows.embeddings[:1])
                begin = time.perf_counter()
                held = peer.upsert(rows.ids, rows.embeddings)
                peer_rates.append(len(rows) / (time.perf_counter() - begin))
                assert held == len(rows), f"the peer holds {held} rows"
        server.kill()
        server.start()
        with negmine.Client(server.target) as client:
            for number in range(RUNS):
                check(client.collection(f"run{number}"), rows)
    value = median(rates)
    params = {
        "rows": len(rows),
        "seconds": len(rows) / value,
        "data": rows.data,
        "groups": True,
        "bits": BITS,
        "runs": RUNS,
        "best": max(rates),
        "worst": min(rates),
    }
    return [
        Result(
            "upsert.grpc.float32.384",
            value,
            "rows/s",
            "higher",
            TARGET_ROWS_S,
            "numpy behind gRPC, not durable",
            median(peer_rates),
            params,
        )
    ]


def timed(collection: negmine.Collection, rows: Rows) -> float:
    """Rows a second, to the last ack."""
    begin = time.perf_counter()
    result = collection.upsert(rows.ids, rows.embeddings, groups=rows.groups)
    seconds = time.perf_counter() - begin
    assert result.inserted == len(rows), f"{result.inserted} of {len(rows)} rows were inserted"
    return len(rows) / seconds


def check(collection: negmine.Collection, rows: Rows) -> None:
    """After a SIGKILL: every acked row is there, and a sample has the right codes."""
    there = collection.info().rows
    assert there == len(rows), f"{there} of {len(rows)} acked rows are there after a SIGKILL"
    sample = np.random.default_rng(0).choice(len(rows), min(CHECKED, len(rows)), replace=False)
    found = collection.fetch(rows.ids[sample], codes=True)
    assert found.codes is not None
    np.testing.assert_array_equal(found.groups, rows.groups[sample])
    np.testing.assert_array_equal(found.codes.words, collection.encoder().encode(rows.embeddings[sample]).words)
