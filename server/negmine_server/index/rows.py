"""The rows of one shard: one writer applies batches, any number of readers search views.

Version rule: a higher packed version wins, an equal one loses to the later arrival, a lower one is stale. A delete
carries a version too and leaves a tombstone under the same rule.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64, Batch, Bool, VectorStore
from negmine_server.errors import InvalidInput
from negmine_server.index import columns
from negmine_server.index.blocks import LOOSE, NO_BUCKETS
from negmine_server.index.frozen import Frozen
from negmine_server.index.ids import IdMap
from negmine_server.index.mirror import Mirror, NoMirror
from negmine_server.index.native import compiled, load_i64
from negmine_server.index.pages import OPTIONALS, PAGE_ROWS, STORE_DTYPES, Allocate, Column, View, gather
from negmine_server.index.pageset import PageSet
from negmine_server.index.room import Room
from negmine_server.index.tombstones import Tombstones

TOMBSTONE_AGE_S = 3600
TOMBSTONES_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch's rows."""

    inserted: int = 0
    overwritten: int = 0
    deleted: int = 0
    stale: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where ids are, and the view in which they are there."""

    view: View
    rows: I64  # [n], -1 = unknown or deleted


@dataclass(frozen=True, slots=True)
class Stats:
    rows: int  # visible
    dead_rows: int  # overwritten or deleted, not yet reclaimed
    pages: int
    tombstones: int
    bytes: dict[str, int]  # resident estimate: a column's touched rows, beside them "id_map" and "tombstones"
    device_bytes: int  # of their mirror


class Rows:
    """Columnar rows with an id map. `apply`, `move`, `restore` and `expire_tombstones` belong to one writer thread."""

    def __init__(
        self,
        words: int,
        store: VectorStore = VectorStore.NONE,
        dimension: int = 0,
        *,
        page_rows: int = PAGE_ROWS,
        tombstone_age_s: int = TOMBSTONE_AGE_S,
        tombstones_max: int = TOMBSTONES_MAX,
        allocate_vectors: Allocate = np.zeros,
        mirror: Mirror | None = None,
    ) -> None:
        self._words, self._store, self._dimension = words, store, dimension
        self._tombstone_age_ms = tombstone_age_s * 1000
        self._lock = threading.Lock()  # held while the id map and the view change together
        self._tombstones = Tombstones(tombstones_max)
        self._mirror = mirror or NoMirror()
        self._pages = PageSet(words, store, dimension, page_rows, allocate_vectors, self._mirror)
        self.room = Room(self._pages, self._mirror)
        self._map = IdMap(self._pages.shift)

    @property
    def _ids(self) -> U64:
        return self._pages.addresses(Column.IDS)

    @property
    def view(self) -> View:
        """The newest view. Takes no lock."""
        return self._pages.view

    def locate(self, ids: I64) -> Located:
        """Rows of ids [n], together with the view in which they hold."""
        with self._lock:
            return Located(self._pages.view, self._map.find(ids, self._ids))

    def freeze(self) -> Frozen:
        with self._lock:
            return Frozen(self._pages.view, self._tombstones.arrays())

    def apply(self, batch: Batch) -> Outcome:
        """Applies a batch whole, and makes it visible at once. Raises InvalidInput for columns the rows cannot hold."""
        self._check(batch)
        self.expire_tombstones(batch.time_ms)
        old = self._map.find(batch.ids, self._ids)
        buried = self._tombstones.versions(batch.ids)
        current = _versions_at(old, self._pages.addresses(Column.VERSIONS), self._pages.shift, buried)
        accepted: Bool = batch.versions >= current
        known = old >= 0
        replaced = int(np.count_nonzero(accepted & known))
        stale = batch.rows - int(np.count_nonzero(accepted))
        ids, dying = batch.ids[accepted], old[accepted & known]
        if batch.deletes:
            times = np.full(ids.shape[0], batch.time_ms, np.int64)
            with self._lock:
                self._pages.kill(dying)
                self._map.remove(ids, self._ids)
                self._tombstones.add(ids, batch.versions[accepted], times)
                self._pages.publish()
            outcome = Outcome(deleted=replaced, stale=stale)
        else:
            rows = self._append(_columns(batch, accepted), np.zeros(ids.shape[0], np.int64))
            with self._lock:
                self._pages.kill(dying)
                self._map.put(ids, rows, self._ids)
                self._tombstones.remove(ids)
                self._pages.publish()
            outcome = Outcome(inserted=ids.shape[0] - replaced, overwritten=replaced, stale=stale)
        self.room.release(batch)
        self._compact(batch.rows)
        return outcome

    def move(self, view: View, rows: I64, buckets: I64) -> int:
        """Moves rows [n] of a view to other buckets [n]; returns how many.

        Rows that have died since are left. Searches see each item once, here or there.
        """
        if view.epoch > self._pages.epoch:  # epochs were renumbered since: what died is marked elsewhere now
            return 0
        died = np.zeros(rows.shape[0], np.uint32)
        columns.take(view.directory[Column.DIED], self._pages.shift, rows, died)
        rows, buckets = rows[died == 0], buckets[died == 0]
        if rows.shape[0]:
            self._relocate(rows, buckets)
            self._compact(rows.shape[0])
        return len(rows)

    def expire_tombstones(self, now_ms: int) -> int:
        """Forgets tombstones beyond the age limit; returns how many. Replays agree only on times taken from batches."""
        with self._lock:
            return self._tombstones.expire(now_ms - self._tombstone_age_ms)

    def restore(
        self,
        parts: Iterable[dict[str, NDArray[Any]]],
        tombstones: dict[str, I64] | None = None,
        known_buckets: I64 = NO_BUCKETS,
    ) -> int:
        """Fills empty rows from the parts of a `Frozen`: unique ids, no version rule.

        Rows of a bucket that is not among the known ones are loose. Returns the highest number of any.
        """
        highest = LOOSE
        assert not len(self._map) + len(self._tombstones), "restore needs empty rows"
        for part in parts:
            rest = {name: values for name, values in part.items() if name != "buckets"}
            buckets = part.get("buckets", np.zeros(part["ids"].shape[0], np.int64))
            highest = max(highest, int(buckets.max(initial=LOOSE)))
            rows = self._append(rest, np.where(np.isin(buckets, known_buckets), buckets, LOOSE))
            with self._lock:
                self._map.put(part["ids"], rows, self._ids)
                self._pages.publish()
        if tombstones is not None and tombstones["ids"].shape[0]:
            with self._lock:
                self._tombstones.add(tombstones["ids"], tombstones["versions"], tombstones["times_ms"])
        return highest

    def stats(self) -> Stats:
        """Counts and sizes of the newest view."""
        view = self._pages.view
        sizes = {column.name.lower(): 0 for column in Column}
        per_page = view.page_rows // view.block_rows
        held = view.counts.reshape(-1, per_page).sum(axis=1)
        for page, count in zip(view.pages, held, strict=True):
            for column, array in page.arrays.items() if page is not None else ():
                sizes[column.name.lower()] += array.nbytes * int(count) // view.page_rows
        sizes["id_map"], sizes["tombstones"] = self._map.nbytes, self._tombstones.nbytes
        pages = sum(page is not None for page in view.pages)
        dead = int(view.counts.sum()) - view.rows
        return Stats(view.rows, dead, pages, len(self._tombstones), sizes, self._mirror.bytes)

    def _check(self, batch: Batch) -> None:
        if batch.codes is None:
            return
        if batch.codes.shape[1] != self._words:
            raise InvalidInput(f"codes have {batch.codes.shape[1]} words, expected {self._words}", field="codes")
        dtype = STORE_DTYPES.get(self._store)
        got = None if batch.vectors is None else (batch.vectors.dtype.name, batch.vectors.shape[1])
        expected = None if dtype is None else (np.dtype(dtype).name, self._dimension)
        if got != expected:
            raise InvalidInput(f"vectors are {got}, this shard stores {expected}", field="vectors")

    def _append(self, items: dict[str, NDArray[Any]], buckets: I64) -> I64:
        """Writes rows [n] into their buckets; returns their numbers. None is visible yet.

        Without memory it raises and nothing that matters has changed.
        """
        placement = self._pages.prepare(items, buckets)
        rows = placement.rows
        if rows.shape[0]:
            self._map.reserve(rows.shape[0], int(rows.max()), self._ids)
        self._pages.write(placement, items)
        return rows

    def _relocate(self, rows: I64, buckets: I64) -> None:
        """Moves live rows [n] into buckets [n] and publishes."""
        items = gather(self._pages.view, rows)
        moved = self._append(items, buckets)
        with self._lock:
            self._pages.kill(rows)
            self._map.put(items["ids"], moved, self._ids)
            self._pages.publish()

    def _compact(self, batch_rows: int) -> None:
        live, buckets = self._pages.worn(batch_rows)
        if live.shape[0]:
            self._relocate(live, buckets)


def _columns(batch: Batch, accepted: Bool) -> dict[str, NDArray[Any]]:
    names = ("ids", "versions", "codes", "corrections", "vectors", *(spec.name for spec in OPTIONALS))
    present = {name: values for name in names if (values := getattr(batch, name)) is not None}
    return present if accepted.all() else {name: values[accepted] for name, values in present.items()}


@compiled
def _versions_at(rows: I64, addresses: U64, shift: int, missing: I64) -> I64:
    versions = missing.copy()
    for i in range(rows.shape[0]):
        if rows[i] >= 0:
            versions[i] = load_i64(addresses[rows[i] >> shift], rows[i] & ((1 << shift) - 1))
    return versions
