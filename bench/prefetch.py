"""What mining adds to a training step, with and without prefetching.

The step is bound by a device: the trainer waits 300 ms for it, and the cores are free meanwhile. It is simulated by a
wait, since two cores cannot hide work of the CPU. The baseline is the same loop without mining. All sides take turns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import negmine
import numpy as np
from harness.corpus import DIMENSION, pairs
from harness.result import Result
from harness.server import Server
from numpy.typing import NDArray

BITS = 256
ANCHORS = 128
K = 16
STEP_S = 0.3
WARM_UP = 2  # steps of a round that do not count: before them nothing could be prefetched
STEPS = 20
ROUNDS = 4
TARGET_PERCENT = 5.0
PROTECTION = negmine.Protection(percent_of_positive=0.95)

Batches = list[NDArray[np.int64]]


@dataclass
class Side:
    """One way to run the loop: the seconds of every step that counts, and the negatives of the first round."""

    seconds: list[float] = field(default_factory=list)
    ids: list[NDArray[np.int64]] = field(default_factory=list)

    def percent_over(self, baseline: Side) -> float:
        """Overhead of the mean step."""
        return float(np.mean(self.seconds) / np.mean(baseline.seconds) - 1) * 100


@dataclass(frozen=True)
class Trainer:
    """A loop over batches of rows: lemmas are anchors, their glosses the positives."""

    collection: negmine.Collection
    anchors: NDArray[np.float32]
    positives: NDArray[np.float32]

    def call(self, rows: NDArray[np.int64]) -> negmine.MineArgs:
        """What a batch asks for."""
        return negmine.MineArgs(anchors=self.anchors[rows], k=K, positives=rows, protection=PROTECTION, exact=True)

    def baseline(self, batches: Batches) -> Iterator[None]:
        """No mining."""
        for _ in batches:
            yield None

    def without(self, batches: Batches) -> Iterator[negmine.Negatives]:
        """Mines when the step needs it."""
        for rows in batches:
            yield self.collection.mine(**self.call(rows))

    def prefetched(self, batches: Batches) -> Iterator[negmine.Negatives]:
        """Mines ahead."""
        for _, negatives in negmine.Prefetcher(self.collection, batches, self.call):
            yield negatives

    def upserting(self, batches: Batches) -> Iterator[negmine.Negatives]:
        """Mines ahead, and upserts what the last step embedded."""
        first = self.collection.info().newest.step + 1
        with self.collection.writer() as writer:
            for step, (rows, negatives) in enumerate(negmine.Prefetcher(self.collection, batches, self.call), first):
                yield negatives
                writer.send(rows, self.positives[rows], step=step)


def run(scale: float) -> list[Result]:
    """`prefetch.overhead`, the same `.upserts` and `.without` prefetching."""
    anchors, positives, data = pairs(scale)
    random = np.random.default_rng(0)
    rounds = [[random.choice(len(anchors), ANCHORS, False) for _ in range(WARM_UP + STEPS)] for _ in range(ROUNDS)]
    with Server() as server, negmine.Client(server.target) as client:
        collection = client.create_collection("bench", DIMENSION, bits=BITS)
        collection.upsert(np.arange(len(positives)), positives)
        trainer = Trainer(collection, anchors, positives)
        sides = measure(trainer, rounds if scale == 1 else rounds[:1])
    check(sides)
    baseline = sides["baseline"]
    params: dict[str, Any] = {"rows": len(positives), "data": data, "bits": BITS, "anchors": ANCHORS, "k": K}
    params |= {"wait_ms": STEP_S * 1e3, "steps": len(baseline.seconds), "baseline_ms": milliseconds(baseline, 50)}
    figures = [("", "prefetched"), (".upserts", "upserting"), (".without", "without")]
    return [
        Result(
            f"prefetch.overhead{suffix}",
            sides[name].percent_over(baseline),
            "%",
            "lower",
            None if name == "without" else TARGET_PERCENT,
            params=params | {"step_ms": milliseconds(sides[name], 50), "step_p99_ms": milliseconds(sides[name], 99)},
        )
        for suffix, name in figures
    ]


def measure(trainer: Trainer, rounds: list[Batches]) -> Mapping[str, Side]:
    """Every side once a round; the upserts come last, since they leave the rows as they were."""
    loops: dict[str, Callable[[Batches], Iterator[negmine.Negatives | None]]] = {
        "baseline": trainer.baseline,
        "without": trainer.without,
        "prefetched": trainer.prefetched,
        "upserting": trainer.upserting,
    }
    sides = {name: Side() for name in loops}
    trainer.collection.mine(**trainer.call(rounds[0][0]))
    for batches in rounds:
        for name, loop in loops.items():
            side = sides[name]
            before = time.perf_counter()
            for step, negatives in enumerate(loop(batches)):
                time.sleep(STEP_S)
                if negatives is not None:
                    side.ids.append(negatives.ids)
                now = time.perf_counter()
                if step >= WARM_UP:
                    side.seconds.append(now - before)
                before = now
    return sides


def check(sides: Mapping[str, Side]) -> None:
    """All sides that mine got the same negatives, and got some: rows are upserted as they were."""
    for name in ("prefetched", "upserting"):
        for ids, wanted in zip(sides[name].ids, sides["without"].ids, strict=True):
            np.testing.assert_array_equal(ids, wanted)
    assert all((ids >= 0).any() for ids in sides["without"].ids), "nothing was mined"


def milliseconds(side: Side, percentile: float) -> float:
    """Of the steps that count."""
    return float(np.percentile(side.seconds, percentile)) * 1e3
