"""Columnar, append-only pages, and the views that searches read.

A page holds `page_rows` rows, one array a column. One writer appends behind the rows that are published and marks rows
dead; readers hold a `View` and take no lock:

- a row is *visible* in a view if its position is below the page's count and it had not died at the view's epoch:
  `died == 0` (alive, so a fresh page needs no initialisation) or `died > view.epoch` (died later);
- the writer fills columns beyond the counts, marks overwritten rows with the coming epoch, then publishes a new view by
  one attribute assignment. A search therefore sees each item once, in the version its view had.

Codes are laid out [page_rows / 64, W, 64]: 64 rows form a group, and a group's words lie together. A kernel reads one
word of 64 rows from eight cache lines in a row, and a group of any width is one contiguous stretch; with [W, page_rows]
the words of a row lie a power of two apart and wide codes evict themselves from the cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64, VectorStore
from negmine_server.index.layout import GROUP_ROWS, load_word, store_word
from negmine_server.index.native import as_compiled, compiled

PAGE_ROWS = 65_536

STORE_DTYPES: dict[VectorStore, Any] = {
    VectorStore.INT8: np.int8,
    VectorStore.FLOAT16: np.float16,
    VectorStore.FLOAT32: np.float32,
}


class Column(IntEnum):
    """A column's row in a view's directory."""

    IDS = 0
    VERSIONS = 1
    DIED = 2
    CORRECTIONS = 3
    CODES = 4
    GROUPS = 5
    TAGS = 6
    UNCERTAINTIES = 7
    NORMS = 8
    VECTORS = 9
    SCALES = 10


@dataclass(frozen=True, slots=True)
class OptionalColumn:
    """A column that a page has only once a batch brings it; `fill` stands for "none" in rows that lack a value."""

    column: Column
    name: str  # the attribute of domain.Batch
    dtype: Any
    fill: float


# Groups are stored complemented (~group), so that NO_GROUP (-1) is 0 and an untouched row has no group.
OPTIONALS = (
    OptionalColumn(Column.GROUPS, "groups", np.int64, 0),
    OptionalColumn(Column.TAGS, "tags", np.uint64, 0),
    OptionalColumn(Column.UNCERTAINTIES, "uncertainties", np.float32, float("nan")),
    OptionalColumn(Column.NORMS, "norms", np.float32, 1.0),
    OptionalColumn(Column.SCALES, "scales", np.float32, 1.0),
)


class Page:
    """The arrays of one page. Zeroed memory comes from the kernel untouched, so unused rows occupy no RAM."""

    __slots__ = ("__weakref__", "arrays", "rows", "words")

    def __init__(self, rows: int, words: int) -> None:
        self.rows = rows
        self.words = words
        self.arrays: dict[Column, NDArray[Any]] = {
            Column.IDS: np.zeros(rows, np.int64),
            Column.VERSIONS: np.zeros(rows, np.int64),
            Column.DIED: np.zeros(rows, np.uint32),
            Column.CORRECTIONS: np.zeros(rows, np.float32),
            Column.CODES: np.zeros((rows // GROUP_ROWS, words, GROUP_ROWS), np.uint64),
        }

    def renumbered(self) -> Page:
        """The same page with every dead row dead since epoch 1; shares all other columns."""
        page = object.__new__(Page)
        page.rows, page.words = self.rows, self.words
        page.arrays = {**self.arrays, Column.DIED: (self.arrays[Column.DIED] != 0).astype(np.uint32)}
        return page

    def ensure(self, column: Column, shape: tuple[int, ...], dtype: Any, fill: float) -> NDArray[Any]:
        array = self.arrays.get(column)
        if array is None:
            array = np.zeros(shape, dtype) if fill == 0 else np.full(shape, fill, dtype)
            self.arrays[column] = array
        return array

    def write(self, start: int, columns: dict[str, NDArray[Any]]) -> None:
        """Writes n rows of item-major `columns` (names of domain.Batch) from position `start` on."""
        arrays = self.arrays
        n = columns["ids"].shape[0]
        stop = start + n
        arrays[Column.IDS][start:stop] = columns["ids"]
        arrays[Column.VERSIONS][start:stop] = columns["versions"]
        corrections = columns.get("corrections")
        arrays[Column.CORRECTIONS][start:stop] = 1.0 if corrections is None else corrections
        _write_codes(arrays[Column.CODES], start, as_compiled(columns["codes"]))
        for spec in OPTIONALS:
            values = columns.get(spec.name)
            if values is not None:
                target = self.ensure(spec.column, (self.rows,), spec.dtype, spec.fill)
                target[start:stop] = ~values if spec.column is Column.GROUPS else values
            elif spec.column in arrays:  # an abandoned write may have left a value here
                arrays[spec.column][start:stop] = spec.fill
        vectors = columns.get("vectors")
        if vectors is not None:
            shape = (self.rows, vectors.shape[1])
            self.ensure(Column.VECTORS, shape, vectors.dtype, 0)[start:stop] = vectors

    def read(self, positions: NDArray[Any], names: frozenset[str]) -> dict[str, NDArray[Any]]:
        """Item-major columns of the rows at `positions`; optional ones as `names` says, filled where absent."""
        arrays = self.arrays
        n = positions.shape[0]
        columns: dict[str, NDArray[Any]] = {
            "ids": arrays[Column.IDS][positions],
            "versions": arrays[Column.VERSIONS][positions],
            "corrections": arrays[Column.CORRECTIONS][positions],
            "codes": _read_codes(arrays[Column.CODES], as_compiled(positions)),
        }
        for spec in OPTIONALS:
            if spec.name not in names:
                continue
            array = arrays.get(spec.column)
            values = np.full(n, spec.fill, spec.dtype) if array is None else array[positions]
            columns[spec.name] = ~values if spec.column is Column.GROUPS else values
        if Column.VECTORS in arrays:
            columns["vectors"] = arrays[Column.VECTORS][positions]
        return columns


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a search reads: an immutable state of one shard's rows. Row r is in page r // page_rows at r % page_rows.

    Holding a view keeps its pages' memory alive, so hold it no longer than the search.
    """

    words: int
    page_rows: int  # a power of two
    dimension: int  # of stored vectors
    store: VectorStore
    epoch: int
    directory: U64  # [len(Column), P] base addresses, 0 = the page lacks the column
    counts: I64  # [P]
    pages: tuple[Page | None, ...]  # [P]
    rows: int  # visible rows

    @property
    def shift(self) -> int:
        return self.page_rows.bit_length() - 1

    def visible(self, slot: int) -> I64:
        """Positions of the visible rows of one page, ascending."""
        page = self.pages[slot]
        if page is None:
            return np.empty(0, np.int64)
        died = page.arrays[Column.DIED][: self.counts[slot]]
        return np.flatnonzero((died == 0) | (died > self.epoch)).astype(np.int64, copy=False)

    def optional_names(self) -> frozenset[str]:
        """The optional columns that any page of this view has."""
        return frozenset(spec.name for spec in OPTIONALS if self.directory[spec.column].any())


def gather(view: View, rows: I64) -> dict[str, NDArray[Any]]:
    """Item-major columns of rows [n] (>= 0, from `locate` or a scan of the same view), by names of domain.Batch."""
    names = view.optional_names()
    slots = rows >> view.shift
    positions = rows & (view.page_rows - 1)
    result: dict[str, NDArray[Any]] = {}
    for slot in np.unique(slots):
        page = view.pages[slot]
        assert page is not None, f"row of a dropped page {slot}"
        chosen = slots == slot
        for name, values in page.read(positions[chosen], names).items():
            if name not in result:
                result[name] = np.zeros((rows.shape[0], *values.shape[1:]), values.dtype)
            result[name][chosen] = values
    return result or Page(GROUP_ROWS, view.words).read(rows, names)


@compiled
def _write_codes(target: U64, start: int, codes: U64) -> None:
    at, words = np.uint64(target.ctypes.data), codes.shape[1]
    for i in range(codes.shape[0]):
        for word in range(words):
            store_word(at, words, start + i, word, codes[i, word])


@compiled
def _read_codes(source: U64, positions: I64) -> U64:
    at, words = np.uint64(source.ctypes.data), source.shape[1]
    codes = np.empty((positions.shape[0], words), np.uint64)
    for i in range(positions.shape[0]):
        for word in range(words):
            codes[i, word] = load_word(at, words, positions[i], word)
    return codes
