"""The rows of one shard: one writer applies batches, any number of readers search views.

Version rule: a higher packed version wins, an equal one loses to the later arrival, a lower one is stale. A delete
carries a version too and leaves a tombstone under the same rule.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64, Batch, Bool, VectorStore
from negmine_server.errors import InvalidInput
from negmine_server.index import columns
from negmine_server.index.blocks import BLOCK_ROWS, LOOSE, Blocks
from negmine_server.index.frozen import Frozen
from negmine_server.index.ids import IdMap
from negmine_server.index.layout import GROUP_ROWS
from negmine_server.index.native import Scalar, as_compiled, compiled, load_i64, store_u32
from negmine_server.index.pages import OPTIONALS, PAGE_ROWS, STORE_DTYPES, Allocate, Column, Page, View, gather
from negmine_server.index.tombstones import Tombstones

EPOCH_MAX = 2**32 - 2
TOMBSTONE_AGE_S = 3600
TOMBSTONES_MAX = 1_000_000
_NO_BUCKETS: I64 = np.empty(0, np.int64)


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
    ) -> None:
        assert page_rows >= GROUP_ROWS, page_rows
        assert page_rows & (page_rows - 1) == 0, page_rows
        self._words, self._store, self._dimension, self._page_rows = words, store, dimension, page_rows
        self._shift = page_rows.bit_length() - 1
        self._tombstone_age_ms = tombstone_age_s * 1000
        self._allocate_vectors = allocate_vectors
        self._lock = threading.Lock()  # held while the id map and the view change together
        self._tombstones = Tombstones(tombstones_max)
        self._map = IdMap(self._shift)
        self._pages: list[Page | None] = []
        self._blocks = Blocks(page_rows, min(page_rows, BLOCK_ROWS))
        self._directory = np.zeros((len(Column), 0), np.uint64)
        self._epoch = 1
        self._view_number = 0
        self._views: deque[tuple[int, weakref.ref[View]]] = deque()  # those that somebody may still read
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
            rows = self._append(_columns(batch, accepted), np.zeros(ids.shape[0], np.int64))
            with self._lock:
                self._kill(dying)
                self._map.put(ids, rows, self._directory[Column.IDS])
                self._tombstones.remove(ids)
                self._publish()
            outcome = Outcome(inserted=ids.shape[0] - replaced, overwritten=replaced, stale=stale)
        self._compact(batch.rows)
        return outcome

    def move(self, view: View, rows: I64, buckets: I64) -> int:
        """Moves rows [n] of a view to other buckets [n]; returns how many.

        Rows that have died since are left. Searches see each item once, here or there.
        """
        if view.epoch > self._epoch:  # epochs were renumbered since: what died is marked elsewhere now
            return 0
        died = np.zeros(rows.shape[0], np.uint32)
        columns.take(view.directory[Column.DIED], self._shift, rows, died)
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
        known_buckets: I64 = _NO_BUCKETS,
    ) -> None:
        """Fills empty rows from the parts of a `Frozen`: unique ids, no version rule.

        Rows of a bucket that is not among the known ones are loose.
        """
        assert not len(self._map) + len(self._tombstones), "restore needs empty rows"
        for part in parts:
            rest = {name: values for name, values in part.items() if name != "buckets"}
            buckets = part.get("buckets", np.zeros(part["ids"].shape[0], np.int64))
            rows = self._append(rest, np.where(np.isin(buckets, known_buckets), buckets, LOOSE))
            with self._lock:
                self._map.put(part["ids"], rows, self._directory[Column.IDS])
                self._publish()
        if tombstones is not None and tombstones["ids"].shape[0]:
            with self._lock:
                self._tombstones.add(tombstones["ids"], tombstones["versions"], tombstones["times_ms"])

    def stats(self) -> Stats:
        """Counts and sizes of the newest view."""
        view = self._view
        sizes = {column.name.lower(): 0 for column in Column}
        per_page = view.page_rows // view.block_rows
        held = view.counts.reshape(-1, per_page).sum(axis=1)
        for page, count in zip(view.pages, held, strict=True):
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

    def _append(self, items: dict[str, NDArray[Any]], buckets: I64) -> I64:
        """Writes rows [n] into their buckets, behind the published counts; returns their numbers. None is visible yet.

        Without memory it raises and nothing that matters has changed.
        """
        self._blocks.recycle(self._oldest_view())
        for _ in range(-(-self._blocks.missing(buckets) * self._blocks.rows // self._page_rows)):
            self._open_page()
        placement = self._blocks.place(buckets)
        rows = placement.rows
        if rows.shape[0]:
            self._ensure_columns(np.unique(rows >> self._shift), items)
            self._map.reserve(rows.shape[0], int(rows.max()), self._directory[Column.IDS])
        self._write(rows, items)
        self._blocks.settle(placement)
        return rows

    def _ensure_columns(self, slots: I64, items: dict[str, NDArray[Any]]) -> None:
        vectors = items.get("vectors")
        for slot in slots.tolist():
            page = self._pages[slot]
            assert page is not None, slot
            for spec in OPTIONALS:
                if spec.name in items:
                    page.ensure(spec.column, spec.dtype, spec.fill)
            if vectors is not None:
                page.ensure(Column.VECTORS, vectors.dtype, 0, vectors.shape[1])
            for column, array in page.arrays.items():
                self._directory[column, slot] = array.ctypes.data

    def _write(self, rows: I64, items: dict[str, NDArray[Any]]) -> None:
        directory, shift, n = self._directory, self._shift, rows.shape[0]
        columns.put(directory[Column.IDS], shift, rows, items["ids"])
        columns.put(directory[Column.VERSIONS], shift, rows, items["versions"])
        columns.put(directory[Column.DIED], shift, rows, np.zeros(n, np.uint32))
        corrections = items.get("corrections")
        columns.put(
            directory[Column.CORRECTIONS], shift, rows, np.ones(n, np.float32) if corrections is None else corrections
        )
        columns.put_codes(directory[Column.CODES], shift, rows, as_compiled(items["codes"]))
        for spec in OPTIONALS:
            values = items.get(spec.name)
            if values is not None:
                columns.put(directory[spec.column], shift, rows, ~values if spec.column is Column.GROUPS else values)
            else:  # a row that was here before may have left a value, where the page has the column
                old = rows[directory[spec.column, rows >> shift] != 0]
                columns.put(directory[spec.column], shift, old, np.full(old.shape[0], spec.fill, spec.dtype))
        if "vectors" in items:
            columns.put(directory[Column.VECTORS], shift, rows, items["vectors"])

    def _open_page(self) -> None:
        page = Page(self._page_rows, self._words, self._allocate_vectors)
        free = next((slot for slot, held in enumerate(self._pages) if held is None), -1)
        if free < 0:
            free = len(self._pages)
            self._pages.append(None)
            self._directory = np.concatenate([self._directory, np.zeros((len(Column), 1), np.uint64)], axis=1)
        self._pages[free] = page
        for column, array in page.arrays.items():
            self._directory[column, free] = array.ctypes.data
        self._blocks.open_page(free)

    def _relocate(self, rows: I64, buckets: I64) -> None:
        """Moves live rows [n] into buckets [n] and publishes."""
        items = gather(self._view, rows)
        moved = self._append(items, buckets)
        with self._lock:
            self._kill(rows)
            self._map.put(items["ids"], moved, self._directory[Column.IDS])
            self._publish()

    def _compact(self, batch_rows: int) -> None:
        """Moves the live rows out of full blocks that are more than half dead, and frees what holds no live row.

        A batch kills at most its own number of rows and a block reclaims more than half of its own, so this keeps up.
        """
        worn = self._blocks.worn(1 + 2 * batch_rows // self._blocks.rows)
        if worn.shape[0]:
            live = self._view.visible(worn)
            if live.shape[0]:
                self._relocate(live, self._blocks.allocation.bucket_of(live // self._blocks.rows))
        spent = self._blocks.spent()
        if spent.shape[0]:
            with self._lock:
                for slot in self._blocks.free(spent, self._view_number + 1).tolist():
                    self._blocks.close_page(slot)
                    self._pages[slot] = None
                    self._directory[:, slot] = 0
                self._publish()

    def _oldest_view(self) -> int:
        """The number of the oldest view that somebody may still read."""
        while self._views[0][1]() is None:
            self._views.popleft()
        return self._views[0][0]

    def _kill(self, rows: I64) -> None:
        """Marks rows dead from the coming epoch on; views up to the present one keep them."""
        _mark_died(rows, self._directory[Column.DIED], self._shift, np.uint32(self._epoch + 1))
        self._blocks.kill(rows)

    def _publish(self) -> None:
        self._epoch += 1
        if self._epoch >= EPOCH_MAX:
            self._renumber()
        self._view = self._snapshot()

    def _snapshot(self) -> View:
        blocks = self._blocks
        view = View(
            words=self._words,
            page_rows=self._page_rows,
            block_rows=blocks.rows,
            dimension=self._dimension,
            store=self._store,
            epoch=self._epoch,
            directory=self._directory.copy(),
            pages=tuple(self._pages),
            counts=blocks.counts.copy(),
            dead=blocks.dead.copy(),
            allocation=blocks.allocation,
            rows=int(blocks.counts.sum() - blocks.dead.sum()),
        )
        self._view_number += 1
        self._views.append((self._view_number, weakref.ref(view)))
        return view

    def _renumber(self) -> None:
        """Starts epochs afresh before they overflow. Older views keep their marks: pages are replaced, not changed."""
        self._pages = [None if page is None else page.renumbered() for page in self._pages]
        for slot, page in enumerate(self._pages):
            if page is not None:
                self._directory[Column.DIED, slot] = page.arrays[Column.DIED].ctypes.data
        self._epoch = 1


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
