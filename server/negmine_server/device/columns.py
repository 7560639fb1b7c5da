"""The columns that a device has of a page, by the numbers of `Column` in scan/cuda/search.cuh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from negmine_server.device.gpu import Gpu
from negmine_server.domain import VectorStore
from negmine_server.index.pages import OPTIONALS, STORE_DTYPES, Column

BORN = len(Column)  # the epoch from which a row can be seen; of its own here, where no counts of blocks are
COLUMNS = BORN + 1
_NOT_MIRRORED = {Column.UNCERTAINTIES}  # of no use to a scan


@dataclass(frozen=True, slots=True)
class Spec:
    """How a column lies in a page. `fill` stands for "none", of the column's dtype; None = each row brings a value."""

    column: int
    name: str
    dtype: np.dtype[Any]
    bytes: int  # of a row's value
    stride: int  # of a row in the page
    fill: float | None = None

    @property
    def fill_bits(self) -> int:
        """The fill as it lies in memory."""
        if self.fill is None:
            return 0
        return int.from_bytes(np.array(self.fill, self.dtype).tobytes(), "little")


BORN_EPOCH = Spec(BORN, "born", np.dtype(np.uint32), 4, 4)


class Specs:
    """The columns of a collection's pages."""

    def __init__(self, words: int, store: VectorStore, dimension: int) -> None:
        self.row_bytes = -(-8 * words // 16) * 16  # of a code; tensor instructions read 16 bytes at a time
        self.base = (
            Spec(Column.CODES, "codes", np.dtype(np.uint64), 8 * words, self.row_bytes),
            _plain(Column.IDS, "ids", np.int64),
            _plain(Column.VERSIONS, "versions", np.int64),
            _plain(Column.CORRECTIONS, "corrections", np.float32, 1.0),
        )
        self.optional = {
            spec.name: _plain(spec.column, spec.name, spec.dtype, spec.fill)
            for spec in OPTIONALS
            if spec.column not in _NOT_MIRRORED
        }
        self.vectors: tuple[Spec, ...] = ()
        if store is not VectorStore.NONE:
            dtype = np.dtype(STORE_DTYPES[store])
            size = dimension * dtype.itemsize
            self.vectors = (Spec(Column.VECTORS, "vectors", dtype, size, size),)


class DevicePage:
    """The memory of one page on a device; of the stream that is current. No row is born yet."""

    def __init__(self, gpu: Gpu, specs: Specs, rows: int) -> None:
        self._gpu, self.rows = gpu, rows
        self._columns: dict[int, torch.Tensor] = {}
        slab = gpu.zeros(rows * sum(spec.stride for spec in specs.base), torch.uint8)
        for spec, part in zip(specs.base, slab.split([rows * spec.stride for spec in specs.base]), strict=True):
            self._columns[spec.column] = part
        self._set_epochs(gpu.zeros((2, rows), torch.int32))

    @property
    def bytes(self) -> int:
        return sum(column.nbytes for column in self._columns.values())

    @property
    def addresses(self) -> dict[int, int]:
        """Of its columns."""
        return {column: memory.data_ptr() for column, memory in self._columns.items()}

    def ensure(self, spec: Spec) -> None:
        """Adds a column if it is not there."""
        if spec.column in self._columns:
            return
        memory = self._gpu.empty(self.rows * spec.stride, torch.uint8)
        if spec.fill:
            memory.view(torch.float32).fill_(spec.fill)
        elif spec.fill is not None:
            memory.zero_()
        self._columns[spec.column] = memory

    def renumbered(self) -> DevicePage:
        """The same page with what is alive born at epoch 1 and the rest never; shares all other columns."""
        page = object.__new__(DevicePage)
        page._gpu, page.rows, page._columns = self._gpu, self.rows, dict(self._columns)
        died, born = (self._columns[column].long() & 0xFFFFFFFF for column in (Column.DIED, BORN))  # they are unsigned
        page._set_epochs(torch.stack([torch.zeros_like(died), (born > 0) & (died <= born)]).int())
        return page

    def _set_epochs(self, epochs: torch.Tensor) -> None:
        self._columns[Column.DIED], self._columns[BORN] = epochs


def _plain(column: int, name: str, dtype: Any, fill: float | None = None) -> Spec:
    size = np.dtype(dtype).itemsize
    return Spec(column, name, np.dtype(dtype), size, size, fill)
