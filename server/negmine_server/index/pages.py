"""Columnar, append-only pages, and the views that searches read.

A page holds `page_rows` rows, one array a column. One writer appends behind the rows that are published and marks rows
dead; readers hold a `View` and take no lock:

- a row is *visible* in a view if its place in its block is below the block's count and it had not died at the view's
  epoch: `died == 0` (alive, so a fresh page needs no initialisation) or `died > view.epoch` (died later);
- the writer fills columns beyond the counts, marks overwritten and moved rows with the coming epoch, then publishes a
  new view by one attribute assignment. A search therefore sees each item once, in the version its view had.

Codes are laid out in groups of 64 rows, byte by byte (`index.layout`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64, VectorStore
from negmine_server.index import columns
from negmine_server.index.blocks import Allocation
from negmine_server.index.layout import code_space

PAGE_ROWS = 65_536

Allocate = Callable[[tuple[int, ...], Any], NDArray[Any]]

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
    """The arrays of one page. Zeroed memory comes from the kernel untouched, so unused rows occupy no RAM.

    Args:
        rows: a multiple of 64.
        words: of a code.
        allocate_vectors: makes the zeroed array of stored vectors, of a shape and dtype.
    """

    __slots__ = ("__weakref__", "_allocate_vectors", "arrays", "rows", "words")

    def __init__(self, rows: int, words: int, allocate_vectors: Allocate = np.zeros) -> None:
        self.rows = rows
        self.words = words
        self._allocate_vectors = allocate_vectors
        self.arrays: dict[Column, NDArray[Any]] = {
            Column.IDS: np.zeros(rows, np.int64),
            Column.VERSIONS: np.zeros(rows, np.int64),
            Column.DIED: np.zeros(rows, np.uint32),
            Column.CORRECTIONS: np.zeros(rows, np.float32),
            Column.CODES: code_space(rows, words),
        }

    def renumbered(self) -> Page:
        """The same page with every dead row dead since epoch 1; shares all other columns."""
        page = object.__new__(Page)
        page.rows, page.words, page._allocate_vectors = self.rows, self.words, self._allocate_vectors
        page.arrays = {**self.arrays, Column.DIED: (self.arrays[Column.DIED] != 0).astype(np.uint32)}
        return page

    def ensure(self, column: Column, dtype: Any, fill: float, width: int = 0) -> None:
        """Adds a column if it is not there; `width` values a row, 0 = one."""
        if column in self.arrays:
            return
        if column is Column.VECTORS:
            array = self._allocate_vectors((self.rows, width), dtype)
        else:
            array = np.zeros(self.rows, dtype) if fill == 0 else np.full(self.rows, fill, dtype)
        self.arrays = {**self.arrays, column: array}  # others may be reading the old dictionary


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class View:
    """What a search reads: an immutable state of one shard's rows. Row r is in page r // page_rows at r % page_rows.

    Holding a view keeps its pages' memory alive and its blocks from being used again, so hold it no longer than needed.
    """

    words: int
    page_rows: int  # a power of two
    block_rows: int  # a power of two, at least 64
    dimension: int  # of stored vectors
    store: VectorStore
    epoch: int
    directory: U64  # [len(Column), P] base addresses, 0 = the page lacks the column
    pages: tuple[Page | None, ...]  # [P]
    counts: I64  # [M] rows written in each block; block b holds rows [b * block_rows, (b + 1) * block_rows)
    dead: I64  # [M] of these, dead
    allocation: Allocation  # which bucket each block belongs to
    rows: int  # visible rows
    mirrored: Any = None  # what a device needs to search this view; None = it is searched here

    @property
    def shift(self) -> int:
        return self.page_rows.bit_length() - 1

    def visible(self, blocks: I64) -> I64:
        """The visible rows [n] of blocks, block by block."""
        inside = np.arange(self.block_rows)
        written = inside < self.counts[blocks][:, None]
        rows = ((blocks * self.block_rows)[:, None] + inside)[written]
        died = np.zeros(rows.shape[0], np.uint32)
        columns.take(self.directory[Column.DIED], self.shift, rows, died)
        seen: I64 = rows[(died == 0) | (died > self.epoch)]
        return seen

    def everything(self) -> I64:
        """The visible rows [n]."""
        return self.visible(np.flatnonzero(self.counts))

    def bucket(self, number: int, most: int | None = None) -> I64:
        """The visible rows [n] of a bucket; the first `most` of them where that is given."""
        lists = self.allocation.lists
        slot = int(lists.find(np.array([number]))[0])
        blocks = lists.blocks[lists.offsets[slot] : lists.offsets[slot + 1]] if slot >= 0 else lists.blocks[:0]
        if most is not None:
            reached = np.cumsum((self.counts - self.dead)[blocks])
            blocks = blocks[: 1 + int(np.searchsorted(reached, most))]
        return self.visible(blocks)[:most]

    def bucket_rows(self) -> dict[int, int]:
        """Visible rows by the bucket's number."""
        lists = self.allocation.lists
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum((self.counts - self.dead)[lists.blocks])])
        rows = np.diff(ends[lists.offsets])[lists.slots]
        return dict(zip(lists.numbers.tolist(), rows.tolist(), strict=True))

    def optional_names(self) -> frozenset[str]:
        """The optional columns that any page of this view has."""
        return frozenset(spec.name for spec in OPTIONALS if self.directory[spec.column].any())


def codes_of(view: View, rows: I64) -> U64:
    """Codes [n, W] of rows [n]."""
    return columns.take_codes(view.directory[Column.CODES], view.shift, rows, view.words)


def gather(view: View, rows: I64, names: frozenset[str] | None = None) -> dict[str, NDArray[Any]]:
    """Item-major columns of rows [n] (>= 0, from `locate` or a scan of the same view), by names of domain.Batch.

    All that there are, or of `names` those.
    """
    n, directory, shift = rows.shape[0], view.directory, view.shift
    result: dict[str, NDArray[Any]] = {
        "ids": np.empty(n, np.int64),
        "versions": np.empty(n, np.int64),
        "corrections": np.empty(n, np.float32),
    }
    result |= {spec.name: np.full(n, spec.fill, spec.dtype) for spec in OPTIONALS if directory[spec.column].any()}
    dtype = STORE_DTYPES.get(view.store)
    if dtype is not None and directory[Column.VECTORS].any():
        result["vectors"] = np.zeros((n, view.dimension), dtype)
    if names is not None:
        result = {name: values for name, values in result.items() if name in names}
    for name, values in result.items():
        columns.take(directory[Column[name.upper()]], shift, rows, values)
    if "groups" in result:
        np.invert(result["groups"], out=result["groups"])
    if names is None or "codes" in names:
        result["codes"] = codes_of(view, rows)
    return result
