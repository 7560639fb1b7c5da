"""The pages of one shard, as its one writer sees them: it appends, marks dead and publishes views."""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64, VectorStore
from negmine_server.index import columns
from negmine_server.index.blocks import BLOCK_ROWS, Blocks, Placement
from negmine_server.index.layout import GROUP_ROWS
from negmine_server.index.mirror import Mirror
from negmine_server.index.native import Scalar, as_compiled, compiled, store_u32
from negmine_server.index.pages import OPTIONALS, Allocate, Column, Page, View

EPOCH_MAX = 2**32 - 2


class PageSet:
    """Belongs to one writer thread, but for `view`."""

    def __init__(
        self,
        words: int,
        store: VectorStore,
        dimension: int,
        page_rows: int,
        allocate_vectors: Allocate,
        mirror: Mirror,
    ) -> None:
        assert page_rows >= GROUP_ROWS, page_rows
        assert page_rows & (page_rows - 1) == 0, page_rows
        self._words, self._store, self._dimension, self._page_rows = words, store, dimension, page_rows
        self._shift = page_rows.bit_length() - 1
        self._mirror = mirror
        self._allocate_vectors = mirror.allocate_vectors or allocate_vectors
        self._pages: list[Page | None] = []
        self._blocks = Blocks(page_rows, min(page_rows, BLOCK_ROWS))
        self._directory = np.zeros((len(Column), 0), np.uint64)
        self._epoch = 1
        self.free_rows = 0  # as published; any thread may read it
        self._view_number = 0
        self._views: deque[tuple[int, weakref.ref[View]]] = deque()  # those that somebody may still read
        self.view = self._snapshot()  # the newest; read without a lock

    @property
    def shift(self) -> int:
        return self._shift

    @property
    def page_rows(self) -> int:
        return self._page_rows

    @property
    def epoch(self) -> int:
        return self._epoch

    def addresses(self, column: Column) -> U64:
        """A column's base address in each page, unpublished ones too; 0 = the page lacks it."""
        addresses: U64 = self._directory[column]
        return addresses

    def prepare(self, items: dict[str, NDArray[Any]], buckets: I64) -> Placement:
        """Makes room for item-major rows [n] of these buckets. Without memory it raises, and nothing has changed."""
        self._blocks.recycle(self._oldest_view())
        runs = self._blocks.runs(buckets)
        for _ in range(-(-self._blocks.missing(runs) * self._blocks.rows // self._page_rows)):
            self._open_page()
        placement = self._blocks.place(runs)
        self._ensure_columns(np.unique(placement.rows >> self._shift), items)
        return placement

    def write(self, placement: Placement, items: dict[str, NDArray[Any]]) -> None:
        """Writes the rows behind the published counts: none is visible yet."""
        self._write(placement.rows, items)
        self._mirror.write(placement.rows, items)
        self._blocks.settle(placement)

    def kill(self, rows: I64) -> None:
        """Marks rows dead from the view that is published next on."""
        if rows.shape[0]:
            _mark_died(rows, self._directory[Column.DIED], self._shift, np.uint32(self._epoch + 1))
            self._mirror.kill(rows)
            self._blocks.kill(rows)

    def publish(self) -> None:
        """Makes what was written and marked visible, all at once."""
        self._epoch += 1
        if self._epoch >= EPOCH_MAX:
            self._renumber()
        self._free_spent()
        self.view = self._snapshot()
        self.free_rows = self._blocks.room()

    def worn(self, batch_rows: int) -> tuple[I64, I64]:
        """Live rows of full blocks that are more than half dead, to be moved; and the numbers of their buckets.

        A batch kills at most its own number of rows and a block reclaims more than half of its own: these keep up.
        """
        blocks = self._blocks.worn(1 + 2 * batch_rows // self._blocks.rows)
        live = self.view.visible(blocks) if blocks.shape[0] else blocks
        return live, self._blocks.allocation.bucket_of(live // self._blocks.rows) if live.shape[0] else live

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
            mirrored=self._mirror.publish(self._epoch, self._directory[Column.VECTORS]),
        )
        self._view_number += 1
        self._views.append((self._view_number, weakref.ref(view)))
        return view

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
        self._mirror.open_page(free)

    def _free_spent(self) -> None:
        """Frees the blocks without a live row; for the view that is about to be published."""
        spent = self._blocks.spent()
        if spent.shape[0]:
            for slot in self._blocks.free(spent, self._view_number + 1).tolist():
                self._blocks.close_page(slot)
                self._mirror.close_page(slot)
                self._pages[slot] = None
                self._directory[:, slot] = 0

    def _oldest_view(self) -> int:
        """The number of the oldest view that somebody may still read."""
        while self._views[0][1]() is None:
            self._views.popleft()
        return self._views[0][0]

    def _renumber(self) -> None:
        """Starts epochs afresh before they overflow. Older views keep their marks: pages are replaced, not changed."""
        self._mirror.renumber(self._epoch)
        self._pages = [None if page is None else page.renumbered() for page in self._pages]
        for slot, page in enumerate(self._pages):
            if page is not None:
                self._directory[Column.DIED, slot] = page.arrays[Column.DIED].ctypes.data
        self._epoch = 1


@compiled
def _mark_died(rows: I64, addresses: U64, shift: int, epoch: Scalar) -> None:
    for i in range(rows.shape[0]):
        store_u32(addresses[rows[i] >> shift], rows[i] & ((1 << shift) - 1), epoch)
