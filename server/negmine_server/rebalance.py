"""Keeps a collection's buckets: trains them, gives loose rows theirs, splits, merges and reassigns.

Rows arrive loose, and every search looks at the loose ones; so an upsert never waits for routing, and nothing here is
needed for a right answer. Each step is small: it routes some thousand rows on the caller's thread and moves them in a
shard between two commits, while searches go on. Splits are local and reassign the neighbourhood, so the partition
follows the drift of the embeddings (the scheme of SPFresh, Xu et al., SOSP 2023).

A bucket that is split or merged closes first: no row is routed there, it is probed as long as it holds rows, and then
it is gone. After a restart a stored row of a bucket that the stored partition does not know is loose, whatever was
interrupted. Numbers are never used again: what is stored of the rows may be newer than the stored partition, so new
numbers begin beyond both.
"""

from __future__ import annotations

import logging
import math
import time
import zlib
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from negmine_server import metrics
from negmine_server.engine.interface import Engine
from negmine_server.errors import NegmineError
from negmine_server.index import partition as partitions
from negmine_server.index.blocks import LOOSE
from negmine_server.index.partition import Partition
from negmine_server.storage import tensors
from negmine_server.storage.objects import Missing, Objects

LOG = logging.getLogger(__name__)

SAMPLE_PER_BUCKET = 64  # rows that a centroid is trained from
TRAINED_MAX = 1024  # buckets trained at once, some seconds of work; splits make more
SPLIT_SAMPLE = 256  # rows that each new bucket's centroid is trained from
CHILDREN_MAX = 16  # of one split
SPLIT_AT = 2.0  # times the rows aimed at
MERGE_AT = 1 / 16
NEIGHBOURS = 4  # buckets looked through after a split, for rows that are nearer to the new ones
STEP_ROWS = 4096  # looked at in one step, per shard
CHECK_S = 0.5  # between looks at the sizes of all buckets
SAVE_S = 20.0
_CHECKSUM_BYTES = 8  # behind the stored partition

_CHANGES = metrics.counter("negmine_bucket_changes", "Changes of the partition into buckets.", "kind")
_MOVED = metrics.counter("negmine_moved_rows", "Rows moved to another bucket.", "reason")


@dataclass(frozen=True, slots=True)
class BucketOptions:
    """When a collection has buckets, and of which size."""

    from_rows: int = 250_000
    rows_min: int = 1024  # aimed at in a bucket, over all shards; more in a large collection: √rows

    def aim(self, rows: int) -> int:
        """Rows aimed at in a bucket: a search pays for centroids and for rows, and √rows balances the two."""
        return max(self.rows_min, math.isqrt(rows))


class Rebalancer:
    """Of one collection. `step` and `close` may be called by any thread.

    Args:
        prefix: of the stored partition.
        seed: of samples and first centroids.
    """

    def __init__(self, engine: Engine, objects: Objects, prefix: str, options: BucketOptions, seed: int) -> None:
        self._engine = engine
        self._objects = objects
        self._prefix = prefix
        self._options = options
        self._seed = seed
        self._lock = Lock()
        self._closed = False
        if engine.partition is not None:
            next_number = max(engine.partition.next_number, engine.highest_bucket + 1)
            engine.partition = replace(engine.partition, next_number=next_number)
        self._saved = engine.partition
        self._saved_at = time.monotonic()
        self._checked_at = -math.inf
        self._loose = 0
        self._total = 0  # rows, when last looked at
        self._moved = 0  # rows, since what is stored was made to say so
        self._to_reassign: dict[int, None] = {}  # an ordered set
        self._indivisible: dict[int, int] = {}  # buckets that could not be split, and their rows then

    def step(self) -> bool:
        """Does one small step; False if there is nothing to do now. Raises what storage raises."""
        with self._lock:
            if self._closed:
                return False
            busy = self._train() if self._engine.partition is None else self._settle(self._engine.partition)
            self._save_if_due()
            return busy

    @property
    def behind(self) -> bool:
        """Whether many rows are loose, which searches pay for."""
        return self._engine.partition is not None and self._loose > 8 * STEP_ROWS

    def close(self) -> None:
        """Waits for a step that is under way; none comes after. Stores the partition."""
        with self._lock:
            if not self._closed:
                self._closed = True
                try:
                    self._save()
                except NegmineError as error:  # what is stored is older, no more
                    LOG.warning("%s could not be stored: %s", self._prefix, error)

    def _train(self) -> bool:
        rows = sum(self._engine.bucket_rows().values())
        if rows < self._options.from_rows:
            return False
        begin = time.perf_counter()
        buckets = min(max(1, rows // self._options.aim(rows)), TRAINED_MAX)
        codes = self._engine.sample(None, buckets * SAMPLE_PER_BUCKET, self._seed)
        if not len(codes):  # deleted meanwhile
            return False
        self._engine.partition = partitions.train(codes, buckets, self._seed, self._engine.highest_bucket + 1)
        _CHANGES.labels("trained").inc()
        LOG.info(
            "%s: %d buckets trained from %d of %d rows in %.1f s",
            self._prefix, len(self._engine.partition), len(codes), rows, time.perf_counter() - begin,
        )  # fmt: skip
        return True

    def _settle(self, partition: Partition) -> bool:
        """Some loose rows get their bucket, and one thing is done about the buckets themselves."""
        moved = self._reroute("assigned", LOOSE)
        if partition.closing.any():
            self._empty(partition, int(partition.numbers[partition.closing.argmax()]))
            return True
        now = time.monotonic()
        if now - self._checked_at >= CHECK_S:
            self._checked_at = now
            if self._check_sizes(partition):
                self._checked_at = -math.inf  # perhaps there is more to do
                return True
        if self._to_reassign and moved < STEP_ROWS:  # loose rows go first where there are many
            number = next(iter(self._to_reassign))
            del self._to_reassign[number]
            self._reroute("reassigned", number)
            return True
        if moved:
            return True
        if self._moved > self._total / 4:  # else a restart would have to move them again
            self._moved = 0
            self._engine.snapshot()
            return True
        return False

    def _reroute(self, reason: str, number: int) -> int:
        moved = self._engine.reroute(number, STEP_ROWS)
        _MOVED.labels(reason).inc(moved)
        self._moved += moved
        return moved

    def _empty(self, partition: Partition, number: int) -> None:
        """Moves rows out of a closing bucket; the partition drops it once it is empty."""
        self._reroute("closed", number)
        if not self._engine.bucket_rows().get(number):
            self._engine.partition = partition.changed(drop=[number])

    def _check_sizes(self, partition: Partition) -> bool:
        """Splits the largest bucket if it is too large, or closes the smallest if it is too small."""
        sizes = self._engine.bucket_rows()
        total = self._total = sum(sizes.values())
        self._loose = sizes.pop(LOOSE, 0)
        aim = self._options.aim(total)
        rows = np.array([sizes.get(number, 0) for number in partition.numbers.tolist()])
        for place in np.argsort(-rows).tolist():
            number, size = int(partition.numbers[place]), int(rows[place])
            if size <= SPLIT_AT * aim:
                break
            if size > 2 * self._indivisible.get(number, 0) and self._split(partition, number, size, aim):
                return True
        smallest = int(rows.argmin())
        if rows[smallest] >= MERGE_AT * aim or len(partition) == 1 or self._loose > total / 8:
            return False
        self._engine.partition = partition.changed(close=partition.numbers[smallest : smallest + 1])
        _CHANGES.labels("merged").inc()
        return True

    def _split(self, partition: Partition, number: int, size: int, aim: int) -> bool:
        """Puts as many buckets as fit in the place of one."""
        children = min(max(2, round(size / aim)), CHILDREN_MAX)
        codes = self._engine.sample(number, children * SPLIT_SAMPLE, self._seed + number)
        centroids = partitions.split(codes, self._seed, children)
        if centroids is None:  # all its rows are alike
            self._indivisible[number] = size
            return False
        changed = partition.changed(add=centroids, close=[number])
        new = len(centroids)
        near = changed.nearest(changed.centroids[-new:], NEIGHBOURS + new + 1).reshape(-1)
        self._to_reassign |= dict.fromkeys(near.tolist())
        for gone in (number, *changed.numbers[-new:].tolist()):
            self._to_reassign.pop(gone, None)
        self._indivisible.pop(number, None)
        self._engine.partition = changed
        _CHANGES.labels("split").inc()
        return True

    # What is stored of it.

    def _save_if_due(self) -> None:
        if time.monotonic() - self._saved_at >= SAVE_S:
            self._save()

    def _save(self) -> None:
        partition = self._engine.partition
        self._saved_at = time.monotonic()
        if partition is None or partition is self._saved:
            return
        older = [item.key for item in self._objects.list(self._prefix)]
        number = 1 + int(older[-1].removeprefix(self._prefix)) if older else 0
        content = tensors.pack(partition.arrays(), {})
        checksum = zlib.crc32(b"".join(content)).to_bytes(_CHECKSUM_BYTES, "little")
        self._objects.create(f"{self._prefix}{number:020d}", [*content, memoryview(checksum)])
        self._objects.delete(older)
        self._saved = partition


def load(objects: Objects, prefix: str) -> Partition | None:
    """The stored partition. One that cannot be read is forgotten: it is trained anew, and answers stay right."""
    keys = [item.key for item in objects.list(prefix)]
    if not keys:
        return None
    try:
        stored = memoryview(objects.get(keys[-1]))
        content, checksum = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
        if zlib.crc32(content) != int.from_bytes(checksum, "little"):
            raise tensors.Malformed("the checksum is wrong")
        return partitions.restored(tensors.unpack(content)[0])
    except (Missing, NegmineError, tensors.Malformed, KeyError, IndexError, ValueError) as error:
        LOG.warning("%s is unreadable (%s): buckets are trained anew", keys[-1], error)
        return None
