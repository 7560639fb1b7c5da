"""How the cost of a probed scan grows with the corpus: one server, rows added from size to size.

The scan is that of 1,024 anchors at recall target 0.95, by Hamming distance; its recall is measured against numpy. The
exact scan on the same server takes turns with it, and grows with the first power. The exponent is the slope of log ms
against log rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import negmine
import numpy as np
from harness import plot
from harness.ceiling import simd, threads
from harness.mining import fill, scan_ms
from harness.peers import numpy_exact
from harness.result import Result
from harness.server import Server
from harness.synthetic import SIZES, Clusters, Neighbours, neighbours
from harness.timing import alternate
from numpy.typing import NDArray

BITS = 256
ANCHORS = 1024
CHECKED = 200  # anchors whose recall is measured against numpy
K = 64
RECALL = 0.95
RECALL_NOISE = 0.01  # of 200 anchors
TARGET = 0.6
ROUNDS = 9
SECONDS = 20.0
CALL_S = 600.0


@dataclass(frozen=True)
class Step:
    """One size."""

    rows: int
    probed_ms: float
    exact_ms: float
    recall: float  # of the probed scan against the exact one
    true_recall: float  # of the true neighbours, after rescoring
    rescored_ms: float  # scan and rescoring, for the true neighbours
    rows_scanned: int  # an anchor
    settle_s: float
    rounds: int


def run(scale: float) -> list[Result]:
    """`growth.exponent`."""
    clusters = Clusters()
    sizes = [int(size * scale) for size in SIZES]
    truth = neighbours(clusters, sizes, ANCHORS, K)
    steps: list[Step] = []
    with Server() as server, negmine.Client(server.target, timeout_s=CALL_S) as client:
        collection = client.create_collection(
            "growth", clusters.dimension, bits=BITS, vectors="int8", recall_target=RECALL
        )
        encoder = collection.encoder()
        codes = np.empty((sizes[-1], encoder.words), np.uint64)
        filled = 0
        for n in sizes:
            settle_s = fill(collection, clusters.blocks(filled, n))
            for ids, rows in clusters.blocks(filled, n):
                codes[ids] = encoder.encode(rows).words
            filled = n
            steps.append(measure(collection, codes[:n], truth[n], settle_s))
    rows = [step.rows for step in steps]
    exponents = {
        name: slope(rows, [getattr(step, name) for step in steps]) for name in ("probed_ms", "exact_ms", "rescored_ms")
    }
    if scale == 1:
        series = {"recall target 0.95": [step.probed_ms for step in steps], "exact": [step.exact_ms for step in steps]}
        plot.growth(rows, series)
    params: dict[str, Any] = {"data": clusters.name, "bits": BITS, "anchors": ANCHORS, "k": K, "recall_target": RECALL}
    params |= {"threads": threads(), "simd": simd(), "exponents": exponents}
    params["lowest_recall"] = min(step.recall for step in steps)
    params["steps"] = [{name: short(value) for name, value in vars(step).items()} for step in steps]
    exponent, peer = exponents["probed_ms"], exponents["exact_ms"]
    target = TARGET if params["lowest_recall"] >= RECALL - RECALL_NOISE else 0.0  # a lower recall is no answer
    return [Result("growth.exponent", exponent, "exponent", "lower", target, "exact scan", peer, params)]


def measure(collection: negmine.Collection, codes: NDArray[np.uint64], truth: Neighbours, settle_s: float) -> Step:
    """Times and recall over the rows that are there."""
    kinds: dict[str, dict[str, Any]] = {
        "probed": {"recall_target": RECALL, "rescore": False},
        "exact": {"exact": True, "rescore": False},
        "rescored": {"recall_target": RECALL, "rescore": True},
    }
    ms: dict[str, list[float]] = {kind: [] for kind in kinds}

    def mining(kind: str) -> Callable[[], negmine.Negatives]:
        def mine() -> negmine.Negatives:
            found = collection.mine(truth.queries, K, scoring="symmetric", timeout_s=CALL_S, **kinds[kind])
            ms[kind].append(scan_ms(found))
            return found

        return mine

    timed = alternate({kind: mining(kind) for kind in kinds}, rounds=ROUNDS, seconds=SECONDS)
    medians = {kind: float(np.median(ms[kind][-len(timed[kind].seconds) :])) for kind in kinds}
    anchors = collection.encoder().encode(truth.queries[:CHECKED]).words
    nearest = Neighbours(truth.queries[:CHECKED], numpy_exact(codes, anchors, K)())
    found = {kind: side.answer for kind, side in timed.items()}
    np.testing.assert_array_equal(found["exact"].ids[:CHECKED], nearest.ids)
    return Step(
        len(codes),
        medians["probed"],
        medians["exact"],
        nearest.recall(found["probed"].ids[:CHECKED]),
        truth.recall(found["rescored"].ids),
        medians["rescored"],
        found["probed"].rows_scanned,
        settle_s,
        len(timed["probed"].seconds),
    )


def slope(rows: list[int], ms: list[float]) -> float:
    """Of log ms against log rows, by least squares."""
    return float(np.polyfit(np.log(rows), np.log(ms), 1)[0])


def short(value: float) -> float:
    """Four digits."""
    return value if isinstance(value, int) else float(f"{value:.4g}")
