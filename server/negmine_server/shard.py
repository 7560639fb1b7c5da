"""One shard: rows with their durable log, written by one thread and searched by any number.

    apply:  committer (log, group commit) → rows and writer numbers → sequence → the caller's future
    search: the rows' current view, never waiting for the writer

A search that reads `sequence` first sees everything up to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server import metrics
from negmine_server.committer import CommitOptions, Committer
from negmine_server.domain import F32, I64, U64, Applied, Batch, Bool, Candidates, Metric, Query, Scoring, VectorStore
from negmine_server.errors import DataLoss, NegmineError, StorageFull
from negmine_server.index import buckets
from negmine_server.index.blocks import NO_BUCKETS
from negmine_server.index.frozen import Frozen, from_snapshot
from negmine_server.index.mirror import Mirror
from negmine_server.index.pages import Allocate, View, gather
from negmine_server.index.rows import Rows, Stats
from negmine_server.scan import cpu
from negmine_server.scan.probing import searches
from negmine_server.storage.log import Log, LogGap
from negmine_server.storage.objects import Objects
from negmine_server.storage.records import decode_batch
from negmine_server.storage.snapshots import JSON, Snapshot, latest_snapshot, prune, write_snapshot
from negmine_server.writers import Writers

LOG = logging.getLogger(__name__)

_ROWS = metrics.counter("negmine_upsert_rows", "Rows of acked upserts and deletes by outcome.", "outcome")
_FSYNC = metrics.histogram("negmine_log_fsync_seconds", "Time to make one log object durable.")
_SNAPSHOT = metrics.histogram("negmine_snapshot_seconds", "Time to write one shard's snapshot.")
_SNAPSHOT_FAILURES = metrics.counter("negmine_snapshot_failures", "Snapshots that could not be written.")


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """What a shard holds, and its bounds."""

    bits: int
    dimension: int
    metric: Metric
    store: VectorStore
    commit: CommitOptions = field(default_factory=CommitOptions)
    writers_max: int = 10_000
    tombstone_age_s: int = 3600
    snapshot_log_bytes: int = 64 << 20
    allocate_vectors: Allocate = np.zeros
    mirror: Callable[[], Mirror] | None = None  # of empty rows


@dataclass(frozen=True, slots=True)
class ShardStats:
    """A shard's counts and sizes."""

    rows: Stats
    sequence: int
    log_bytes: int  # behind the latest snapshot
    snapshot_sequence: int


@dataclass(frozen=True, slots=True)
class SnapshotResult:
    """A written snapshot."""

    sequence: int
    size_bytes: int
    rows: int
    trimmed: int


@dataclass(frozen=True, slots=True)
class _Captured:
    """A shard's state between two commits."""

    frozen: Frozen
    sequence: int
    newest: int
    writers: dict[str, int]
    log_bytes: int
    log: Log | None


class Shard:
    """Serves from construction on; `close` ends it. Thread-safe.

    Args:
        prefix: of its objects in the store.
        on_applied: called by the writer thread whenever `sequence` has grown.
        background: runs the snapshots that the shard asks for by itself.
        known_buckets: numbers [n] of the buckets that stored rows may be in; others are loose.

    Raises:
        DataLoss: stored bytes are corrupt.
        Fenced: another owner took the log over meanwhile.
        StorageFull, StorageFailed: the fence cannot be written, or vectors on disk find no room.
    """

    def __init__(
        self,
        options: ShardOptions,
        objects: Objects,
        prefix: str,
        *,
        on_applied: Callable[[], None],
        background: Executor,
        known_buckets: I64 = NO_BUCKETS,
    ) -> None:
        self._known_buckets = known_buckets
        self.options = options
        self.sequence = 0  # everything up to it is visible
        self.newest = 0  # packed version
        self.highest_bucket = 0  # number of a bucket in the stored rows, known or not
        self._objects = objects
        self._prefix = prefix
        self._on_applied = on_applied
        self._background = background
        self._snapshot_lock = Lock()
        self._snapshot_asked = True  # none during the replay: a snapshot needs the committer
        self._log_bytes = 0  # behind the latest snapshot
        self._snapshot_sequence = 0
        log = self._load()
        self._committer = Committer(f"shard {prefix}", options.commit, log, self._take_over, self._apply, self._writers)
        self._snapshot_asked = False
        self._snapshot_if_due()

    @property
    def problem(self) -> NegmineError | None:
        """Why nothing is applied any more; None while it is."""
        return self._committer.problem

    @property
    def view(self) -> View:
        """What is visible now."""
        return self._rows.view

    def apply(self, batch: Batch) -> Future[Applied]:
        """Queues a batch; the future resolves once it is durable and visible. Raises as `submit` and `Room.reserve`."""
        return self._rows.room.reserve(batch, self._committer.submit)

    def search(self, query: Query, r: int, *, rescore: bool) -> Candidates:
        """The best r visible rows per anchor, by the scan's score; with `rescore` also their exact scores."""
        return self.searches(query, r, 1, rescore=rescore)[0]()

    def searches(self, query: Query, r: int, parts: int, *, rescore: bool) -> list[Callable[[], Candidates]]:
        """As `search`, in at most `parts` pieces of work: the best of all their results is the answer."""
        return searches(self._rows.view, query, r, parts, self.options.metric, rescored=rescore)

    def score(self, query: Query, anchors: I64, ids: I64, *, rescore: bool) -> tuple[F32, Bool]:
        """Scores of (anchor, id) pairs [m], by the query's scoring or exactly; and whether each id is here."""
        located = self._rows.locate(ids)
        found = located.rows >= 0
        scores = np.full(len(ids), np.nan, np.float32)
        if rescore:
            query = replace(query, scoring=Scoring.FLOAT)
        scores[found] = cpu.score_pairs(located.view, query, anchors[found], located.rows[found], self.options.metric)
        return scores, found

    def fetch(self, ids: I64, names: frozenset[str] | None = None) -> tuple[Bool, dict[str, NDArray[Any]]]:
        """Whether each id [n] is here, and the columns of those that are, in order: all, or of `names` those."""
        located = self._rows.locate(ids)
        found = located.rows >= 0
        return found, gather(located.view, located.rows[found], names)

    def stats(self) -> ShardStats:
        """Counts and sizes now."""
        return ShardStats(self._rows.stats(), self.sequence, self._log_bytes, self._snapshot_sequence)

    def bucket_of(self, ids: I64) -> I64:
        """The number [n] of the bucket that each id is in, -1 where it is not here."""
        return buckets.bucket_of(self._rows.locate(ids))

    def reroute(self, bucket: int, most: int, route: Callable[[U64], I64]) -> int:
        """Moves what `buckets.misplaced` finds; returns how many rows. Routes on this thread, moves between commits."""
        moves = buckets.misplaced(self._rows.view, bucket, most, route)
        return self._committer.call(lambda _: moves.apply(self._rows)) if moves.rows.size else 0

    def snapshot(self) -> SnapshotResult:
        """Writes a snapshot of the state at this call, or later, and trims the log behind it. Blocks."""
        with self._snapshot_lock, _SNAPSHOT.time():
            state = self._committer.call(
                lambda log: _Captured(
                    self._rows.freeze(), self.sequence, self.newest, self._writers.state(), self._log_bytes, log
                )
            )
            if state.sequence == self._snapshot_sequence:
                return SnapshotResult(state.sequence, 0, state.frozen.view.rows, 0)
            meta: dict[str, JSON] = {"newest": state.newest, "writers": dict(state.writers)}
            written = write_snapshot(self._objects, self._prefix, state.sequence, state.frozen.snapshot_parts(), meta)
            self._snapshot_sequence = state.sequence
            self._committer.call(lambda _: self._forget_log(state.log_bytes))
            trimmed = state.log.trim(state.sequence) if state.log is not None else 0
            prune(self._objects, self._prefix, keep=1)
            return SnapshotResult(state.sequence, written.size, state.frozen.view.rows, trimmed)

    def close(self) -> None:
        """Finishes what is queued and ends the writer thread."""
        self._committer.close()

    # On the writer thread.

    def _apply(self, sequence: int, batches: list[Batch], size: int) -> list[Applied]:
        results = [self._apply_one(sequence, batch) for batch in batches]
        self.sequence = sequence
        self._log_bytes += size
        self._on_applied()
        self._snapshot_if_due()
        return results

    def _apply_one(self, sequence: int, batch: Batch) -> Applied:
        if self._writers.applied(batch.writer, batch.number):
            return Applied(sequence, duplicate=True)
        outcome = self._rows.apply(batch)
        self._writers.record(batch.writer, batch.number)
        self.newest = max(self.newest, int(batch.versions.max(initial=0)))
        for name in ("inserted", "overwritten", "deleted", "stale"):
            _ROWS.labels(name).inc(getattr(outcome, name))
        return Applied(sequence, outcome.inserted, outcome.overwritten, outcome.deleted, outcome.stale)

    def _take_over(self) -> Log:
        log, replayed = Log.take_over(
            self._objects,
            self._prefix,
            after=self.sequence,
            window=self.options.commit.window,
            observe_fsync=_FSYNC.observe,
        )
        try:
            for record in replayed:
                # A bytearray, so that the arrays are writable: kernels are compiled for such.
                batches = [decode_batch(memoryview(bytearray(payload))) for payload in record.payloads]
                self._apply(record.sequence, batches, sum(len(payload) for payload in record.payloads))
        except StorageFull:
            log.close()
            raise
        return log

    def _forget_log(self, size: int) -> None:
        self._log_bytes -= size

    # Snapshots.

    def _load(self) -> Log:
        """Takes the log over from the newest snapshot."""
        while True:
            snapshot = latest_snapshot(self._objects, self._prefix)
            try:
                self._load_snapshot(snapshot)
                return self._take_over()
            except (LogGap, DataLoss):
                newest = latest_snapshot(self._objects, self._prefix)
                if newest is None or (snapshot is not None and newest.sequence <= snapshot.sequence):
                    raise
                # The owner wrote a newer one meanwhile, removed this and trimmed the log: start from the newer.

    def _load_snapshot(self, snapshot: Snapshot | None) -> None:
        options = self.options
        self._rows = Rows(
            options.bits // 64,
            options.store,
            options.dimension,
            tombstone_age_s=options.tombstone_age_s,
            allocate_vectors=options.allocate_vectors,
            mirror=None if options.mirror is None else options.mirror(),
        )
        self._writers = Writers(options.writers_max)
        self.sequence = self.newest = 0
        self._log_bytes = self._snapshot_sequence = 0
        if snapshot is None:
            return
        self.highest_bucket = self._rows.restore(*from_snapshot(snapshot.parts()), self._known_buckets)
        meta: Any = snapshot.meta
        self._writers.restore(meta["writers"])
        self.newest = meta["newest"]
        self.sequence = self._snapshot_sequence = snapshot.sequence

    def _snapshot_if_due(self) -> None:
        if self._log_bytes >= self.options.snapshot_log_bytes and not self._snapshot_asked:
            self._snapshot_asked = True
            self._background.submit(self._snapshot_by_itself)

    def _snapshot_by_itself(self) -> None:
        try:
            self.snapshot()
        except Exception:  # the log still holds everything; the next commit asks again
            LOG.exception("shard %s: the snapshot failed", self._prefix)
            _SNAPSHOT_FAILURES.inc()
        finally:
            self._snapshot_asked = False
