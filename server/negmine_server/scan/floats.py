"""Exact scores on stored vectors.

    score = dot(stored, anchor) [· scale of the item, when stored as int8]

The dot product has one fixed order of float32 operations (`scan.dots`): the same answer alone or in a batch. Scattered
pairs are bound by memory, so rows are asked for ahead; a scan is bound by arithmetic, so tiles of four rows and four
anchors share what they load and convert.
"""

from __future__ import annotations

from typing import TypeGuard

import numpy as np

from negmine_server.domain import F32, I64, U64, Query, VectorStore
from negmine_server.index.native import Scalar, as_compiled, inlined, kernel, load_f32
from negmine_server.index.pages import Column, Page, View
from negmine_server.scan.admission import Filters, Pages, offer, pages_of
from negmine_server.scan.dots import (
    SIDE,
    pair_dots_float16,
    pair_dots_float32,
    pair_dots_int8,
    prefetch,
    tile_dots_float16,
    tile_dots_float32,
    tile_dots_int8,
)
from negmine_server.scan.plan import Plan
from negmine_server.scan.read_ahead import ask_for
from negmine_server.scan.topr import Buffers
from negmine_server.storage.scratch import on_disk

_VECTORS = int(Column.VECTORS)
_SCALES = int(Column.SCALES)
_INT8, _FLOAT16, _FLOAT32 = 1, 2, 4  # a stored element by its bytes, as kernels take it
ELEMENTS = {VectorStore.INT8: _INT8, VectorStore.FLOAT16: _FLOAT16, VectorStore.FLOAT32: _FLOAT32}
_AHEAD = 2 * SIDE  # pairs; more did not measure better
_DISK_ROWS = 65_536  # that a disk is asked for at once: 256 MiB at worst
_TILE_ROWS = 256  # that stay in the second-level cache while the anchors pass


@inlined
def _vector_at(pages: Pages, row: int, size: int) -> Scalar:
    """The address of a row's vector of `size` bytes; 0 if there is none."""
    if row < 0:
        return np.uint64(0)
    base = pages.directory[_VECTORS, row >> pages.shift]
    return base + np.uint64((row & ((1 << pages.shift) - 1)) * size) if base != 0 else base


@inlined
def _scaled(pages: Pages, slot: int, position: int, dot: Scalar) -> Scalar:
    scales = pages.directory[_SCALES, slot]
    return dot * load_f32(scales, position) if scales != 0 else dot


@inlined
def _ask_for(pages: Pages, row: int, size: int) -> None:
    at = _vector_at(pages, row, size)
    if at != 0:
        prefetch(at, size)
        scales = pages.directory[_SCALES, row >> pages.shift]
        if scales != 0:
            prefetch(scales + np.uint64((row & ((1 << pages.shift) - 1)) * 4), 4)


@kernel
def _score_pairs(
    pages: Pages, rows: I64, anchors: F32, each: int, element: int, scores: F32, places: U64, sums: F32
) -> None:
    """Scores [P] of rows [P], `each` behind one another for an anchor; places [2, 4], sums [4]: working space."""
    dimension = anchors.shape[1]
    size, last = dimension * element, rows.shape[0] - 1
    first_anchor, sums_at = np.uint64(anchors.ctypes.data), np.uint64(sums.ctypes.data)
    rows_at, anchors_at = np.uint64(places[0].ctypes.data), np.uint64(places[1].ctypes.data)
    for start in range(0, rows.shape[0], SIDE):
        for k in range(SIDE):
            _ask_for(pages, rows[min(start + k + _AHEAD, last)], size)
            pair = min(start + k, last)
            places[1, k] = first_anchor + np.uint64(pair // each * dimension * 4)
            at = _vector_at(pages, rows[pair], size)
            places[0, k] = at if at != 0 else places[1, k]  # memory that is there; the sum is not used
        if element == _INT8:
            pair_dots_int8(rows_at, anchors_at, dimension, sums_at)
        elif element == _FLOAT16:
            pair_dots_float16(rows_at, anchors_at, dimension, sums_at)
        else:
            pair_dots_float32(rows_at, anchors_at, dimension, sums_at)
        for k in range(min(SIDE, rows.shape[0] - start)):
            row = rows[start + k]
            if row >= 0:
                slot, position = row >> pages.shift, row & ((1 << pages.shift) - 1)
                held = pages.directory[_VECTORS, slot] != 0
                scores[start + k] = _scaled(pages, slot, position, sums[k]) if held else np.float32(np.nan)


def exact_scores(view: View, rows: I64, anchors: F32) -> F32:
    """Scores [B, R] of rows [B, R] with anchors [B, d]; -inf where the row is negative, NaN without a stored vector."""
    scores = np.full(rows.shape, -np.inf, np.float32)
    places, sums = np.empty((2, SIDE), np.uint64), np.empty(SIDE, np.float32)
    pages, element, each = pages_of(view), ELEMENTS[view.store], rows.shape[1]
    rows, anchors = as_compiled(rows), as_compiled(anchors)
    disk = any(on_disk(page.arrays[Column.VECTORS]) for page in view.pages if _has_vectors(page))
    step = max(1, _DISK_ROWS // max(1, each)) if disk else max(1, rows.shape[0])
    for start in range(0, rows.shape[0], step):
        stop = start + step
        flat = rows[start:stop].reshape(-1)
        if disk:
            ask_for(_addresses(pages, flat, anchors.shape[1] * element), anchors.shape[1] * element)
        _score_pairs(pages, flat, anchors[start:stop], each, element, scores[start:stop].reshape(-1), places, sums)
    return scores


def _has_vectors(page: Page | None) -> TypeGuard[Page]:
    return page is not None and Column.VECTORS in page.arrays


def _addresses(pages: Pages, rows: I64, size: int) -> U64:
    """Where the vectors of rows [n] lie, of those that have one."""
    held = rows[rows >= 0]
    bases = pages.directory[_VECTORS, held >> pages.shift]
    return (bases + ((held & ((1 << pages.shift) - 1)) * size).astype(np.uint64))[bases != 0]


@inlined
def _take_tile(
    pages: Pages, filters: Filters, buffers: Buffers, queries: Scalar, slot: int, position: int, rows: int, sums: F32
) -> None:
    """Offers rows from `position` on to the anchors of sums [anchor, row]."""
    for j in range(queries.shape[0]):
        for k in range(rows):
            score = _scaled(pages, slot, position + k, sums[j * SIDE + k])
            if score >= buffers.bar_scores[queries[j]]:
                offer(pages, filters, buffers, queries[j], slot, position + k, score)


@kernel
def _scan_rows(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    queries: Scalar,
    first: int,
    count: int,
    anchors: F32,
    element: int,
    places: U64,
    sums: F32,
) -> None:
    """Offers `count` rows from row number `first` on to the anchors of queries [n]."""
    dimension = anchors.shape[1]
    size = dimension * element
    slot, position = first >> pages.shift, first & ((1 << pages.shift) - 1)
    start = _vector_at(pages, first, size)
    if start == 0:
        return
    first_anchor, sums_at = np.uint64(anchors.ctypes.data), np.uint64(sums.ctypes.data)
    rows_at, anchors_at = np.uint64(places[0].ctypes.data), np.uint64(places[1].ctypes.data)
    last = queries.shape[0] - 1
    for a in range(0, queries.shape[0], SIDE):
        for k in range(SIDE):  # a tile at an edge repeats the last
            places[1, k] = first_anchor + np.uint64(np.int64(queries[min(a + k, last)]) * dimension * 4)
        for r in range(0, count, SIDE):
            for k in range(SIDE):
                places[0, k] = start + np.uint64(min(r + k, count - 1) * size)
            if element == _INT8:
                tile_dots_int8(rows_at, anchors_at, dimension, sums_at)
            elif element == _FLOAT16:
                tile_dots_float16(rows_at, anchors_at, dimension, sums_at)
            else:
                tile_dots_float32(rows_at, anchors_at, dimension, sums_at)
            rows = min(SIDE, count - r)
            _take_tile(pages, filters, buffers, queries[a : a + SIDE], slot, position + r, rows, sums)


@kernel
def _scan_plan(
    pages: Pages, filters: Filters, buffers: Buffers, plan: Plan, anchors: F32, element: int, places: U64, sums: F32
) -> None:
    for s in range(plan.starts.shape[0]):
        queries = plan.queries[plan.query_offsets[s] : plan.query_offsets[s + 1]]
        for i in range(plan.starts[s], plan.stops[s]):
            for r in range(0, plan.counts[i], _TILE_ROWS):
                count = min(_TILE_ROWS, plan.counts[i] - r)
                _scan_rows(pages, filters, buffers, queries, plan.blocks[i] + r, count, anchors, element, places, sums)


def scan_floats(view: View, plan: Plan, query: Query, filters: Filters, buffers: Buffers) -> None:
    """Scans the plan's blocks for anchors with vectors [B, d] into the buffers; pages without vectors are left out."""
    assert query.vectors is not None, "a float scan needs vectors"
    places, sums = np.empty((2, SIDE), np.uint64), np.empty(SIDE * SIDE, np.float32)
    anchors, element = as_compiled(query.vectors), ELEMENTS[view.store]
    _scan_plan(pages_of(view), filters, buffers, plan, anchors, element, places, sums)
