"""Deleted ids with the version of their delete, so that a late upsert cannot resurrect a row.

A first-in-first-out log of (id, version, time) with a hash over its positions; no Python object per id. Bounded in age
and in number: beyond `count_max` the oldest are forgotten. Ages are measured on the batches' own times, so a replay of
the log forgets exactly what the first run forgot.
"""

from __future__ import annotations

import numpy as np

from negmine_server.domain import I64, U64
from negmine_server.index.ids import IdMap

NO_VERSION = -1
_FORGOTTEN = -1  # in place of an id that was forgotten or deleted again
_MIN_CAPACITY = 64
_SHIFT = 31  # one "page" holds every position


class Tombstones:
    """id -> (version, time_ms). Used by the single writer of a shard."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._start = 0  # [start, end) is in use
        self._end = 0
        self._clear(_MIN_CAPACITY)

    def __len__(self) -> int:
        return len(self._map)

    @property
    def nbytes(self) -> int:
        return self._ids.nbytes + self._versions.nbytes + self._times.nbytes + self._map.nbytes

    def versions(self, ids: I64) -> I64:
        """Versions [n] of the tombstones of ids [n], NO_VERSION where there is none."""
        if not len(self._map):
            return np.full(ids.shape[0], NO_VERSION, np.int64)
        positions = self._map.find(ids, self._addresses)
        return np.where(positions >= 0, self._versions[positions], NO_VERSION)

    def add(self, ids: I64, versions: I64, times_ms: I64) -> None:
        """Sets tombstones for unique ids [n], replacing older ones."""
        self.remove(ids)
        ids, versions, times_ms = (a[-self._count_max :] for a in (ids, versions, times_ms))
        self._forget(len(self) + ids.shape[0] - self._count_max)
        if self._end + ids.shape[0] > self._ids.shape[0]:
            self._repack(ids.shape[0])
        rows = np.arange(self._end, self._end + ids.shape[0])
        self._ids[rows], self._versions[rows], self._times[rows] = ids, versions, times_ms
        self._end += ids.shape[0]
        self._map.put(ids, rows, self._addresses)

    def remove(self, ids: I64) -> None:
        if not len(self._map):
            return
        positions = self._map.find(ids, self._addresses)
        known = positions >= 0
        self._map.remove(ids[known], self._addresses)
        self._ids[positions[known]] = _FORGOTTEN

    def expire(self, before_ms: int) -> int:
        """Forgets, oldest first, what was deleted before `before_ms`; returns how many."""
        if not len(self._map):
            return 0
        young = self._times[self._start : self._end] >= before_ms
        old = int(np.argmax(young)) if young.any() else self._end - self._start
        return self._drop(self._start + old)

    def arrays(self) -> dict[str, I64]:
        """Copies, oldest first: ids, versions, times_ms, each [n]."""
        live = self._live()
        return {"ids": self._ids[live], "versions": self._versions[live], "times_ms": self._times[live]}

    def _live(self) -> I64:
        return self._start + np.flatnonzero(self._ids[self._start : self._end] != _FORGOTTEN)

    def _forget(self, count: int) -> None:
        if count > 0:
            self._drop(int(self._live()[count - 1]) + 1)

    def _drop(self, stop: int) -> int:
        """Forgets positions below `stop`; returns how many of them still held an id."""
        ids = self._ids[self._start : stop]
        ids = ids[ids != _FORGOTTEN]
        self._map.remove(ids, self._addresses)
        self._start = stop
        return int(ids.shape[0])

    def _repack(self, extra: int) -> None:
        kept = self.arrays()
        count = kept["ids"].shape[0]
        self._clear(max(_MIN_CAPACITY, 2 * (count + extra)))
        self._ids[:count], self._versions[:count], self._times[:count] = kept.values()
        self._end = count
        self._map.put(kept["ids"], np.arange(count), self._addresses)

    def _clear(self, capacity: int) -> None:
        self._ids = np.zeros(capacity, np.int64)
        self._versions = np.zeros(capacity, np.int64)
        self._times = np.zeros(capacity, np.int64)
        self._addresses: U64 = np.array([self._ids.ctypes.data], np.uint64)
        self._map = IdMap(_SHIFT)
        self._start, self._end = 0, 0
