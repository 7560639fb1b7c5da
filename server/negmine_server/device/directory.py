"""Where the pages of a shard are on its device: their memory by slot, and the table of addresses that kernels read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from negmine_server.device.columns import COLUMNS, DevicePage, Spec, Specs
from negmine_server.device.gpu import Gpu
from negmine_server.device.staging import Staging
from negmine_server.domain import I64, U64
from negmine_server.index.pages import Column


class Directory:
    """Pages by slot. Belongs to one writer thread on the stream that is current, but for the counts.

    The table on the device is never changed: one that differs takes its place, which is rare, and running searches go
    on reading the old one.
    """

    def __init__(self, gpu: Gpu, specs: Specs, page_rows: int) -> None:
        self._gpu, self._specs, self._page_rows = gpu, specs, page_rows
        self._pages: list[DevicePage | None] = []
        self._addresses = np.zeros((COLUMNS, 1), np.uint64)  # [COLUMNS, slots]; doubles when it is full
        self._table = gpu.zeros((COLUMNS, 1), torch.int64)  # the addresses as they were sent
        self._changed = False  # since then
        self._page_bytes = 0
        self.memory: tuple[object, ...] = (self._table,)  # what a search must hold

    @property
    def bytes(self) -> int:
        """On the device."""
        return self._page_bytes + self._table.nbytes

    @property
    def address(self) -> int:
        """Of the table on the device, [COLUMNS][slots]."""
        return self._table.data_ptr()

    @property
    def slots(self) -> int:
        """Of the table."""
        return int(self._table.shape[1])

    @property
    def length(self) -> int:
        """Slots up to the last open page."""
        return len(self._pages)

    def having(self, column: int) -> int:
        """How many pages have a column."""
        return int(np.count_nonzero(self._addresses[column]))

    def open(self, slot: int) -> None:
        """Puts a page without rows into a slot."""
        self._put(slot, DevicePage(self._gpu, self._specs, self._page_rows))

    def close(self, slot: int) -> None:
        """Takes a page out; its memory comes free once nobody holds it."""
        self._put(slot, None)

    def add_columns(self, slots: I64, wanted: Sequence[Spec]) -> None:
        """The pages in these slots have these columns from now on."""
        lacking = (self._addresses[[spec.column for spec in wanted]][:, slots] == 0).any(axis=0)
        for slot in slots[lacking].tolist():
            page = self._pages[slot]
            assert page is not None, slot
            before = page.bytes
            for spec in wanted:
                page.ensure(spec)
            self._page_bytes += page.bytes - before
            self._point(slot, page)

    def point_at(self, vectors: U64) -> None:
        """Vectors are at these addresses [P] of the host."""
        held = self._addresses[Column.VECTORS]
        if not np.array_equal(held[: len(vectors)], vectors):
            held[: len(vectors)] = vectors
            self._changed = True

    def renumber(self) -> None:
        """All that is alive is born at epoch 1."""
        for slot, page in enumerate(self._pages):
            if page is not None:
                self._put(slot, page.renumbered())

    def send(self, staging: Staging) -> bool:
        """Makes a new table if anything has changed; says so."""
        if not self._changed:
            return False
        parcel = staging.next()
        addresses, _ = parcel.array(self._addresses.shape, np.uint64)
        addresses[:] = self._addresses
        table = self._gpu.empty(self._addresses.shape, torch.int64)
        parcel.send_to(table)
        parcel.end()
        self._table, self._changed = table, False
        self.memory = (table, *self._pages)
        return True

    def _put(self, slot: int, page: DevicePage | None) -> None:
        self._pages += [None] * (slot + 1 - len(self._pages))
        if slot >= self._addresses.shape[1]:
            self._addresses = np.pad(self._addresses, ((0, 0), (0, self._addresses.shape[1])))
        old, self._pages[slot] = self._pages[slot], page
        while self._pages and self._pages[-1] is None:
            self._pages.pop()
        self._page_bytes -= 0 if old is None else old.bytes
        self._addresses[:, slot] = 0
        self._changed = True
        if page is not None:
            self._page_bytes += page.bytes
            self._point(slot, page)

    def _point(self, slot: int, page: DevicePage) -> None:
        for column, address in page.addresses.items():
            self._addresses[column, slot] = address
        self._changed = True
