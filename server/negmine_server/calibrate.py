"""How many buckets a query probes and candidates it rescores for a recall target, learnt from measured queries.

A measured query knows its exact answer, and for each item of it a *rank*: how many buckets are nearer to the query than
the item's own, or how many candidates come before it. The share of the items with a rank below n is the recall that n
would have given, for every n at once. Averaged over queries this is a curve, and the target is looked up on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, Bool, Scoring

LEVELS = (16, 64, 256, 1024, 4096, 16_384)  # sizes of answers that curves are kept for
MEMORY = 1000.0  # measured queries that a curve remembers; older ones fade
MEASURED_MEMORY = 200.0  # that the measured recall is a mean of
NOT_FOUND = np.iinfo(np.int64).max  # a rank beyond all

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mode:
    """Queries that have a curve of their own."""

    scoring: Scoring
    rescored: bool  # the exact answer is that of the stored vectors, else that of the codes
    limited: bool  # below a score ceiling


@dataclass(frozen=True, slots=True)
class Effort:
    """What a query is worth; None = everything, or what is usual."""

    probes: int | None
    pool: int | None


class Curve:
    """Recall by rank, for answers of several sizes."""

    def __init__(self) -> None:
        self._mass: F64 = np.zeros((len(LEVELS), 0))
        self._weight: F64 = np.zeros(len(LEVELS))

    def observe(self, ranks: I64) -> None:
        """Takes in the ranks [R] of one answer's items, best first, R >= 1."""
        held = ranks[ranks != NOT_FOUND]
        width = int(held.max(initial=-1)) + 1
        if width > self._mass.shape[1]:
            self._mass = np.pad(self._mass, ((0, 0), (0, width + width // 2 - self._mass.shape[1])))
        for level, size in enumerate(LEVELS):
            top = ranks[:size]
            if self._weight[level] >= MEMORY:
                self.fade(1 - 1 / MEMORY, level)
            np.add.at(self._mass[level], top[top != NOT_FOUND], 1 / top.shape[0])
            self._weight[level] += 1
            if size >= ranks.shape[0]:
                break

    def fade(self, factor: float, level: int | slice = slice(None)) -> None:
        """Lets what was observed count for less."""
        self._mass[level] *= factor
        self._weight[level] *= factor

    def smallest(self, target: float, answer: int, *, or_best: bool = False) -> int | None:
        """The smallest n with a recall of at least `target` for answers of this size; None if none is known.

        With `or_best`, the n with the highest recall where none reaches the target.

        A standard error is added to the target, so that few measured queries do not promise too much; it is the one of
        queries that find all of their answer or nothing.
        """
        curve = self._of(answer)
        if curve is None:
            return None
        recall, weight = curve
        certain = recall - np.sqrt(np.clip(recall * (1 - recall), 0, None) / weight)
        reached = certain >= target
        if reached.any():
            return int(reached.argmax()) + 1
        return int(np.searchsorted(recall, recall[-1])) + 1 if or_best else None

    def recall(self, n: int, answer: int) -> float | None:
        """The recall that n gives; None where nothing is known."""
        curve = self._of(answer)
        return None if curve is None else float(curve[0][min(n, curve[0].shape[0]) - 1]) if n > 0 else 0.0

    def _of(self, answer: int) -> tuple[F64, float] | None:
        """The curve of the level that fits an answer's size, or of the nearest that is known."""
        known = np.flatnonzero(self._weight > 0)
        if not known.size or not self._mass.shape[1]:
            return None
        fitting = known[np.array(LEVELS)[known] >= answer]
        level = int(fitting[0] if fitting.size else known[-1])
        weight = float(self._weight[level])
        return np.cumsum(self._mass[level]) / weight, weight


class Calibration:
    """Of one collection. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._probes: dict[Mode, Curve] = {}
        self._pools: dict[Mode, Curve] = {}
        self._measured = 1.0
        self._measured_weight = 0.0

    @property
    def measured(self) -> float | None:
        """Recall of sampled queries as they were served, the last few hundred; None before the first."""
        return self._measured if self._measured_weight else None

    def effort(self, mode: Mode, target: float, answer: int, pool: int) -> Effort:
        """What a query needs for a recall of `target`, which is below 1.

        `answer` is how many items are wanted, `pool` how many candidates a scan usually gives. A rescored answer is
        lost by either the probes or the pool, so each gets the root of the target.
        """
        with self._lock:
            if not mode.rescored:
                return Effort(self._smallest(self._probes, mode, target, pool), None)
            each = target**0.5
            own = self._known(self._probes, mode)
            if own is None or not own.rescored:
                return Effort(self._smallest(self._probes, mode, each, pool), None)
            pools = self._known(self._pools, mode)
            enough = None if pools is None else self._pools[pools].smallest(each, answer, or_best=True)
            return Effort(self._smallest(self._probes, mode, each, answer), enough)

    def observe(self, mode: Mode, bucket_ranks: I64, pool_ranks: I64 | None, served: Bool | None) -> None:
        """Takes in one measured query: ranks [R] of its exact answer, and which of it was found as it was served."""
        with self._lock:
            self._probes.setdefault(mode, Curve()).observe(bucket_ranks)
            if pool_ranks is not None:
                self._pools.setdefault(mode, Curve()).observe(pool_ranks)
            if served is not None:
                self._measured_weight = min(self._measured_weight + 1, MEASURED_MEMORY)
                self._measured += (float(served.mean()) - self._measured) / self._measured_weight

    def fade(self) -> None:
        """Lets the curves of probes count for less: the buckets have changed."""
        with self._lock:
            for curve in self._probes.values():
                curve.fade(0.25)

    def _smallest(self, curves: dict[Mode, Curve], mode: Mode, target: float, answer: int) -> int | None:
        known = self._known(curves, mode)
        return None if known is None else curves[known].smallest(target, answer)

    def _known(self, curves: dict[Mode, Curve], mode: Mode) -> Mode | None:
        """The mode itself, or the most similar that was measured."""

        def difference(other: Mode) -> int:
            return (
                4 * (other.rescored != mode.rescored)
                + 2 * (other.scoring is not mode.scoring)
                + (other.limited != mode.limited)
            )

        return min(curves, key=difference, default=None)
