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
from negmine_server.index.frozen import Frozen
from negmine_server.index.ids import IdMap
from negmine_server.index.layout import GROUP_ROWS
from negmine_server.index.native import Scalar, compiled, load_i64, store_u32
from negmine_server.index.pages import OPTIONALS, PAGE_ROWS, STORE_DTYPES, Column, Page, View
from negmine_server.index.tombstones import Tombstones

EPOCH_MAX = 2**32 - 2
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


class Rows:
    """Columnar rows with an id map. `apply`, `restore` and `expire_tombstones` belong to one writer thread."""

    def __init__(
        self,
        words: int,
        store: VectorStore = VectorStore.NONE,
        dimension: int = 0,
        *,
        page_rows: int = PAGE_ROWS,
        tombstone_age_s: int = TOMBSTONE_AGE_S,
        tombstones_max: int = TOMBSTONES_MAX,
    ) -> None:
        assert page_rows >= GROUP_ROWS, page_rows
        assert page_rows & (page_rows - 1) == 0, page_rows
        self._words, self._store, self._dimension, self._page_rows = words, store, dimension, page_rows
        self._shift = page_rows.bit_length() - 1
        self._tombstone_age_ms = tombstone_age_s * 1000
        self._lock = threading.Lock()  # held while the id map and the view change together
        self._tombstones = Tombstones(tombstones_max)
        self._map = IdMap(self._shift)
        self._pages: list[Page | None] = []
        self._counts = np.zeros(0, np.int64)  # [P] rows written
        self._dead = np.zeros(0, np.int64)  # [P] of these, dead
        self._directory = np.zeros((len(Column), 0), np.uint64)
        self._tail = -1  # the page that is being filled
        self._epoch = 1
        self._view = self._snapshot()

    @property
    def view(self) -> View:
        """The newest view. Takes no lock."""
        return self._view

    def locate(self, ids: I64) -> Located:
        """Rows of ids [n], together with the view in which they hold."""
        with self._lock:
            return Located(self._view, self._map.find(ids, self._directory[Column.IDS]))

    def freeze(self) -> Frozen:
        with self._lock:
            return Frozen(self._view, self._tombstones.arrays())

    def apply(self, batch: Batch) -> Outcome:
        """Applies a batch whole, and makes it visible at once. Raises InvalidInput for columns the rows cannot hold."""
        self._check(batch)
        self.expire_tombstones(batch.time_ms)
        old = self._map.find(batch.ids, self._directory[Column.IDS])
        buried = self._tombstones.versions(batch.ids)
        current = _versions_at(old, self._directory[Column.VERSIONS], self._shift, buried)
        accepted: Bool = batch.versions >= current
        known = old >= 0
        replaced = int(np.count_nonzero(accepted & known))
        stale = batch.rows - int(np.count_nonzero(accepted))
        ids, dying = batch.ids[accepted], old[accepted & known]
        if batch.deletes:
            times = np.full(ids.shape[0], batch.time_ms, np.int64)
            with self._lock:
                self._kill(dying)
                self._map.remove(ids, self._directory[Column.IDS])
                self._tombstones.add(ids, batch.versions[accepted], times)
                self._publish()
            outcome = Outcome(deleted=replaced, stale=stale)
        else:
            rows = self._append(_columns(batch, accepted))
            with self._lock:
                self._kill(dying)
                self._map.put(ids, rows, self._directory[Column.IDS])
                self._tombstones.remove(ids)
                self._publish()
            outcome = Outcome(inserted=ids.shape[0] - replaced, overwritten=replaced, stale=stale)
        # A batch kills at most its own number of rows and a compaction reclaims more than half a page of dead ones, so
        # this many keep up with any stream of batches.
        for _ in range(1 + 2 * batch.rows // self._page_rows):
            self._compact_one()
        return outcome

    def expire_tombstones(self, now_ms: int) -> int:
        """Forgets tombstones beyond the age limit; returns how many. Replays agree only on times taken from batches."""
        with self._lock:
            return self._tombstones.expire(now_ms - self._tombstone_age_ms)

    def restore(self, parts: Iterable[dict[str, NDArray[Any]]], tombstones: dict[str, I64] | None = None) -> None:
        """Fills empty rows from the parts of a `Frozen`: unique ids, no version rule."""
        assert not len(self._map) + len(self._tombstones), "restore needs empty rows"
        for part in parts:
            rows = self._append(part)
            with self._lock:
                self._map.put(part["ids"], rows, self._directory[Column.IDS])
                self._publish()
        if tombstones is not None and tombstones["ids"].shape[0]:
            with self._lock:
                self._tombstones.add(tombstones["ids"], tombstones["versions"], tombstones["times_ms"])

    def stats(self) -> Stats:
        view = self._view
        sizes = {column.name.lower(): 0 for column in Column}
        for page, count in zip(view.pages, view.counts, strict=True):
            for column, array in page.arrays.items() if page is not None else ():
                sizes[column.name.lower()] += array.nbytes * int(count) // self._page_rows
        sizes["id_map"], sizes["tombstones"] = self._map.nbytes, self._tombstones.nbytes
        pages = sum(page is not None for page in view.pages)
        dead = int(view.counts.sum()) - view.rows
        return Stats(view.rows, dead, pages, len(self._tombstones), sizes)

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

    def _append(self, columns: dict[str, NDArray[Any]]) -> I64:
        """Writes rows behind the published counts; returns their row numbers. Nothing is visible yet.

        Without memory for a page it raises and leaves everything as it was.
        """
        counts, tail, pages = self._counts.copy(), self._tail, list(self._pages)
        try:
            return self._write(columns)
        except MemoryError:
            opened = self._counts.shape[0] - counts.shape[0]
            self._counts, self._tail = np.pad(counts, (0, opened)), tail
            self._pages = pages + [None] * opened
            raise

    def _write(self, columns: dict[str, NDArray[Any]]) -> I64:
        n = columns["ids"].shape[0]
        rows = np.empty(n, np.int64)
        done = 0
        while done < n:
            if self._tail < 0 or self._counts[self._tail] == self._page_rows:
                self._open_page()
            slot, page, start = self._tail, self._pages[self._tail], int(self._counts[self._tail])
            assert page is not None
            stop = min(n, done + self._page_rows - start)
            page.write(start, {name: values[done:stop] for name, values in columns.items()})
            for column, array in page.arrays.items():
                self._directory[column, slot] = array.ctypes.data
            rows[done:stop] = np.arange(start, start + stop - done) + (slot << self._shift)
            self._counts[slot] += stop - done
            done = stop
        if n:
            self._map.reserve(n, int(rows.max()), self._directory[Column.IDS])
        return rows

    def _open_page(self) -> None:
        page = Page(self._page_rows, self._words)
        free = next((slot for slot, held in enumerate(self._pages) if held is None), -1)
        if free < 0:
            free = len(self._pages)
            self._pages.append(None)
            self._counts = np.append(self._counts, 0)
            self._dead = np.append(self._dead, 0)
            self._directory = np.concatenate([self._directory, np.zeros((len(Column), 1), np.uint64)], axis=1)
        self._pages[free] = page
        self._tail = free

    def _kill(self, rows: I64) -> None:
        """Marks rows dead from the coming epoch on; views up to the present one keep them."""
        _mark_died(rows, self._directory[Column.DIED], self._shift, np.uint32(self._epoch + 1))
        self._dead += np.bincount(rows >> self._shift, minlength=self._dead.shape[0])

    def _publish(self) -> None:
        self._epoch += 1
        if self._epoch >= EPOCH_MAX:
            self._renumber()
        self._view = self._snapshot()

    def _snapshot(self) -> View:
        return View(
            words=self._words,
            page_rows=self._page_rows,
            dimension=self._dimension,
            store=self._store,
            epoch=self._epoch,
            directory=self._directory.copy(),
            counts=self._counts.copy(),
            pages=tuple(self._pages),
            rows=int(self._counts.sum() - self._dead.sum()),
        )

    def _renumber(self) -> None:
        """Starts epochs afresh before they overflow. Older views keep their marks: pages are replaced, not changed."""
        self._pages = [None if page is None else page.renumbered() for page in self._pages]
        for slot, page in enumerate(self._pages):
            if page is not None:
                self._directory[Column.DIED, slot] = page.arrays[Column.DIED].ctypes.data
        self._epoch = 1

    def _compact_one(self) -> None:
        """Moves the live rows out of one sealed page that is more than half dead, and lets go of the page."""
        sealed = (self._counts == self._page_rows) & (2 * self._dead > self._page_rows)
        if self._tail >= 0:
            sealed[self._tail] = False
        if not sealed.any():
            return
        slot = int(np.argmax(sealed))
        page = self._pages[slot]
        assert page is not None
        live = np.flatnonzero(page.arrays[Column.DIED] == 0).astype(np.int64)
        columns = page.read(live, frozenset(spec.name for spec in OPTIONALS if spec.column in page.arrays))
        rows = self._append(columns)
        with self._lock:
            self._map.put(columns["ids"], rows, self._directory[Column.IDS])
            self._pages[slot] = None
            self._counts[slot] = self._dead[slot] = 0
            self._directory[:, slot] = 0
            self._publish()


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


@compiled
def _mark_died(rows: I64, addresses: U64, shift: int, epoch: Scalar) -> None:
    for i in range(rows.shape[0]):
        store_u32(addresses[rows[i] >> shift], rows[i] & ((1 << shift) - 1), epoch)
