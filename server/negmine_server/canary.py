"""The canary: a sample of live queries is answered exactly in the background, and recall measured on them.

What it measures calibrates the probes and pools of later queries. Before the first live query, and whenever the number
of buckets has grown by a quarter, stored rows stand in for queries.
"""

from __future__ import annotations

import random
import time
from collections import deque
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from negmine.encoder import Encoder

from negmine_server import metrics
from negmine_server.calibrate import NOT_FOUND, Calibration, Mode
from negmine_server.domain import F32, I64, NO_ID, Query, Scoring
from negmine_server.encode import Anchors, encode
from negmine_server.engine.interface import Engine
from negmine_server.index.partition import Partition, points_of

SAMPLE_ANCHORS = 16  # of one Mine
STAND_INS = 256
STAND_IN_ANSWER = 1024
POOL_MAX = 4096  # candidates among which the items of a rescored answer are looked for
SHARE = 0.02  # of one core's time
PAUSE_MAX_S = 10.0
GROWTH = 1.25
_PENDING_MAX = 32

_MEASURED = metrics.counter("negmine_measured_queries", "Queries that were answered exactly too, to measure recall.")
_TIME = metrics.histogram("negmine_canary_seconds", "Time to answer one sample exactly.")


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Anchors [b] of a Mine, and how they were served."""

    query: Query  # as the scan had it, but for the probes
    truth: Query  # what answers it exactly: the same, or by stored vectors
    own_ids: I64  # [b], NO_ID = none
    mode: Mode
    answer: int  # size of the exact answer
    probes: int | None  # buckets probed, None = all
    pool: int  # candidates rescored
    target: float


class Canary:
    """Of one collection. `offer` may be called by any thread, `step` by one.

    Args:
        target: the collection's; requests that ask for less do not count in the measured recall.
    """

    def __init__(self, engine: Engine, encoder: Encoder, target: float, seed: int) -> None:
        self.calibration = Calibration()
        self._engine = engine
        self._encoder = encoder
        self._target = target
        self._random = random.Random(seed)  # noqa: S311 (a sample, no secret)
        self._pending: deque[Sample] = deque()
        self._lock = Lock()
        self._next_at = 0.0
        self._calibrated_for = 0  # buckets

    @property
    def hungry(self) -> bool:
        """Whether more samples are of use now."""
        return len(self._pending) < _PENDING_MAX // 4 or self._random.random() < 1 / 16

    def choose(self, anchors: int) -> I64:
        """Which of a Mine's anchors are offered."""
        return np.sort(self._random.sample(range(anchors), min(anchors, SAMPLE_ANCHORS))).astype(np.int64)

    def offer(self, sample: Sample) -> None:
        """Keeps a sample for later; a random one gives way when there are many."""
        with self._lock:
            if len(self._pending) == _PENDING_MAX:
                del self._pending[self._random.randrange(_PENDING_MAX)]
            self._pending.append(sample)

    def step(self) -> bool:
        """Measures one sample if its share of time allows; False if not, or if there is none."""
        begin = time.monotonic()
        if begin < self._next_at:
            return False
        partition = self._engine.partition
        if partition is not None and len(partition) > GROWTH * self._calibrated_for:
            self._calibrated_for = len(partition)
            self._measure_stand_ins(partition)
            return True
        with self._lock:
            sample = self._pending.popleft() if self._pending else None
        if sample is None:
            return False
        with _TIME.time():
            self._measure(sample, partition)
        _MEASURED.inc(sample.query.rows)
        self._next_at = begin + min((time.monotonic() - begin) / SHARE, PAUSE_MAX_S)
        return True

    def _measure_stand_ins(self, partition: Partition) -> None:
        codes = self._engine.sample(None, STAND_INS, len(partition))
        query = encode(Anchors(None, codes, None), self._encoder, Scoring.SYMMETRIC, with_vectors=False).query
        found = self._engine.search_here(query, STAND_IN_ANSWER + 1)
        buckets = self._engine.bucket_of(found.ids.reshape(-1)).reshape(found.ids.shape)
        ranks = partition.ranks(points_of(query), buckets)
        self.calibration.fade()
        mode = Mode(Scoring.SYMMETRIC, rescored=False, limited=False)
        for row, count in enumerate(found.counts.tolist()):
            if count > 1:  # the first is the row itself, or its like
                self.calibration.observe(mode, ranks[row, 1:count], None, None)

    def _measure(self, sample: Sample, partition: Partition | None) -> None:
        answer = self._engine.search_here(sample.truth, sample.answer)
        ids = answer.ids
        ranks = np.zeros(ids.shape, np.int64)
        if partition is not None:
            buckets = self._engine.bucket_of(ids.reshape(-1)).reshape(ids.shape)
            ranks = partition.ranks(points_of(sample.query), buckets)
        places = self._places(sample, ids) if sample.mode.rescored else None
        for row in range(ids.shape[0]):
            counted = (ids[row] != NO_ID) & (ids[row] != sample.own_ids[row])
            if not counted.any():
                continue
            served = ranks[row, counted] < (np.inf if sample.probes is None else sample.probes)
            pool_ranks = None
            if places is not None:
                pool_ranks = places[row, counted]
                served &= pool_ranks < sample.pool
            counts = served if sample.target >= self._target else None
            self.calibration.observe(sample.mode, ranks[row, counted], pool_ranks, counts)

    def _places(self, sample: Sample, ids: I64) -> I64:
        """How many candidates of the scan come before each item [b, R]."""
        candidates = self._engine.search_here(sample.query, POOL_MAX)
        places = np.full(ids.shape, NOT_FOUND, np.int64)
        for row, count in enumerate(candidates.counts.tolist()):
            held = candidates.ids[row, :count]
            order = np.argsort(held)
            at = np.minimum(np.searchsorted(held[order], ids[row]), max(count - 1, 0))
            if count:
                there = held[order[at]] == ids[row]
                places[row, there] = order[at[there]]
        return places


def truth_of(query: Query, ceilings: F32, floors: F32) -> Query:
    """The query that is answered exactly by the stored vectors, with the bounds on their scores."""
    return replace(
        query,
        scoring=Scoring.FLOAT,
        after_scores=ceilings,
        after_ids=np.full(query.rows, -1, np.int64),
        floors=floors,
    )
