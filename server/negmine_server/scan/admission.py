"""The filters inside a scan, asked only of rows whose score beats the anchor's bar."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from negmine_server.domain import F32, I64, STEP_MAX, U64, Query
from negmine_server.index.native import Scalar, as_compiled, inlined, kernel, load_i64, load_u32, load_u64, popcount
from negmine_server.index.pages import Column, View
from negmine_server.scan.plan import Tile
from negmine_server.scan.topr import Buffers, before, push

_IDS = int(Column.IDS)
_VERSIONS = int(Column.VERSIONS)
_DIED = int(Column.DIED)
_GROUPS = int(Column.GROUPS)
_TAGS = int(Column.TAGS)
_ONE = np.float32(1).view(np.uint32)


class Pages(NamedTuple):
    """A view as kernels take it."""

    directory: U64
    shift: int
    words: int
    epoch: int


class Filters(NamedTuple):
    """A query's filters as kernels take them; groups complemented as pages store them, 0 = no filter."""

    after_scores: F32
    after_ids: I64
    excluded: I64
    required: U64
    forbidden: U64
    min_steps: I64


def pages_of(view: View) -> Pages:
    return Pages(view.directory, view.shift, view.words, view.epoch)


def filters_of(query: Query) -> Filters:
    """The in-scan filters of a query, without copying where its arrays allow."""
    return Filters(
        as_compiled(query.after_scores),
        as_compiled(query.after_ids),
        ~query.exclude_groups,
        as_compiled(query.require_tags),
        as_compiled(query.forbid_tags),
        as_compiled(query.min_steps),
    )


@kernel
def weight_range(pages: Pages, tile: Tile, groups: int, column: int) -> tuple[Scalar, Scalar]:
    """The least and greatest of a tile's float32 weights, 1 where a page lacks the column; NaN if one has a sign.

    Floats without a sign are ordered as their bits are, and LLVM makes vectors of integers.
    """
    low, high, mask = np.uint32(0xFFFFFFFF), np.uint32(0), (1 << pages.shift) - 1
    for group in range(groups):
        row = tile.rows[group]
        base = pages.directory[column, row >> pages.shift]
        if base == 0:
            low, high = min(low, _ONE), max(high, _ONE)
            continue
        at = base + np.uint64((row & mask) * 4)
        for i in range(popcount(tile.valid[group])):
            bits = load_u32(at, i)
            low, high = min(low, bits), max(high, bits)
    if high >= np.uint32(0x80000000):
        return np.float32(np.nan), np.float32(np.nan)
    return np.uint32(low).view(np.float32), np.uint32(high).view(np.float32)


@inlined
def alive(pages: Pages, slot: int, position: int) -> Scalar:
    died = load_u32(pages.directory[_DIED, slot], position)
    return died == 0 or died > pages.epoch


@inlined
def eligible(pages: Pages, filters: Filters, q: int, slot: int, position: int) -> Scalar:
    """Whether a row passes what does not depend on its score: visibility, group, tags and step."""
    if not alive(pages, slot, position):
        return False
    if filters.excluded[q] != 0:
        column = pages.directory[_GROUPS, slot]
        if column != 0 and load_i64(column, position) == filters.excluded[q]:
            return False
    if filters.required[q] | filters.forbidden[q]:
        column = pages.directory[_TAGS, slot]
        tags = load_u64(column, position) if column != 0 else np.uint64(0)
        if (tags & filters.required[q]) != filters.required[q] or (tags & filters.forbidden[q]) != 0:
            return False
    if filters.min_steps[q] <= 0:
        return True
    return (load_i64(pages.directory[_VERSIONS, slot], position) & STEP_MAX) >= filters.min_steps[q]


@inlined
def offer(pages: Pages, filters: Filters, buffers: Buffers, q: int, slot: int, position: int, score: Scalar) -> Scalar:
    """Takes a row into the buffers if it beats the bar and passes the filters; True if that raised the bar.

    An eligible row that does not come after the cursor is counted in `buffers.above`.
    """
    if score < buffers.bar_scores[q]:
        return False
    key = load_i64(pages.directory[_IDS, slot], position)
    if not before(score, key, buffers.bar_scores[q], buffers.bar_ids[q]):
        return False
    if not eligible(pages, filters, q, slot, position):
        return False
    if not before(filters.after_scores[q], filters.after_ids[q], score, key):
        buffers.above[q] += 1
        return False
    return push(buffers, q, score, key, (slot << pages.shift) + position)
