"""Mine of 1,024 anchors by an exact symmetric scan: where the time goes on the server, and what the wire adds.

The peer is FAISS IndexBinaryFlat on the same codes, in this process, alternating; the answers are compared.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import negmine
import numpy as np
from harness.corpus import DIMENSION, glosses
from harness.result import Result
from harness.server import Server
from numpy.typing import NDArray

BITS = 256
ANCHORS = 1024
K = 16
CALLS = 40
WARM_UP = 5
SERVER_MS = 60.0
OVERHEAD_MS = 15.0


@dataclass
class Times:
    """Of every call, in milliseconds."""

    wall: list[float] = field(default_factory=list)
    scan: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    peer: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)

    @property
    def overhead(self) -> float:
        """Client wall less scan, at the median."""
        return median(wall - scan for wall, scan in zip(self.wall, self.scan, strict=True))


def run(scale: float) -> list[Result]:
    """`mine.scan.b1024`, `mine.e2e.b1024`, `mine.overhead.b1024`."""
    rows = glosses(scale)
    with Server() as server, negmine.Client(server.target) as client:
        collection = client.create_collection("bench", DIMENSION, bits=BITS)
        collection.upsert(rows.ids, rows.embeddings, groups=rows.groups)
        codes = collection.encoder().encode(rows.embeddings).words
        times = measure(collection, rows.embeddings[:ANCHORS], codes)
    stages = {stage: median(call[stage] for call in times.stages) for stage in times.stages[0]}
    params: dict[str, Any] = {"rows": len(rows), "data": rows.data, "bits": BITS, "anchors": ANCHORS, "k": K}
    params |= {"calls": CALLS, "server_ms": median(times.server), "overhead_ms": times.overhead, "stages_ms": stages}
    peer = "FAISS IndexBinaryFlat" if times.peer else ""
    peer_ms = median(times.peer) if times.peer else None
    scan, wall = median(times.scan), median(times.wall)
    return [
        Result("mine.scan.b1024", scan, "ms", "lower", SERVER_MS, peer, peer_ms, params),
        Result("mine.e2e.b1024", wall, "ms", "lower", SERVER_MS + OVERHEAD_MS, params=params),
        Result("mine.overhead.b1024", times.overhead, "ms", "lower", OVERHEAD_MS, params=params),
    ]


def measure(collection: negmine.Collection, anchors: NDArray[np.float32], codes: NDArray[np.uint64]) -> Times:
    """Calls one after another, each followed by the peer's search."""
    times = Times()
    index = faiss_index(codes)
    own = np.arange(len(anchors))
    for call in range(WARM_UP + CALLS):
        begin = time.perf_counter()
        found = collection.mine(anchors, K, own_ids=own, scoring="symmetric", exact=True)
        wall = (time.perf_counter() - begin) * 1e3
        distances, peer_ms = None, 0.0
        if index is not None:
            begin = time.perf_counter()
            distances, _ = index.search(codes[: len(anchors)].view(np.uint8), K + 1)
            peer_ms = (time.perf_counter() - begin) * 1e3
        if call == 0:
            check(found, codes, distances)
        if call < WARM_UP:
            continue
        times.wall.append(wall)
        times.scan.append(found.timings_ms["scan"])
        times.server.append(sum(found.timings_ms.values()))
        times.stages.append(found.timings_ms)
        if index is not None:
            times.peer.append(peer_ms)
    return times


def faiss_index(codes: NDArray[np.uint64]) -> Any:
    """The peer; None where faiss is not installed."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # its threads do not spin through our call that follows
    try:
        import faiss
    except ImportError:
        return None
    index = faiss.IndexBinaryFlat(BITS)
    index.add(codes.view(np.uint8))
    return index


def check(found: negmine.Negatives, codes: NDArray[np.uint64], peer: NDArray[np.int32] | None) -> None:
    """Ids against numpy for some anchors (distance, then id), distances against the peer for all."""
    distances = np.rint(np.arccos(np.clip(found.scores, -1, 1)) * BITS / np.pi).astype(np.int32)
    for anchor in range(0, len(found), 64):
        all_distances = np.bitwise_count(codes ^ codes[anchor]).sum(axis=1)
        order = np.lexsort((np.arange(len(codes)), all_distances))
        wanted = order[order != anchor][:K]
        np.testing.assert_array_equal(found.ids[anchor], wanted)
        np.testing.assert_array_equal(distances[anchor], all_distances[wanted])
    if peer is not None:  # its nearest is the anchor itself, or another at distance 0
        np.testing.assert_array_equal(distances, peer[:, 1:])
