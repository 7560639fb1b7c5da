"""Asymmetric scores: int8 anchor against sign code (the RaBitQ family's estimate, Gao and Long 2024).

    score = (float32(dot) · correction of the item) · scale of the anchor,  dot = Σ_j value[j] · (+1 if bit j else -1)

Four bits of a code pick one of sixteen sums of values, so dot = 2·Σ table[p][bits p] - Σ value. A scan looks first at
these sums in steps of one byte's resolution, rounded up: `width · sum + base` is never below dot. From the bar and the
corrections of a tile follows the lowest sum that can reach the bar, and only rows that have it are scored exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Query
from negmine_server.index.layout import load_byte
from negmine_server.index.native import (
    Scalar,
    as_compiled,
    compiled,
    inlined,
    kernel,
    load_f32,
    load_i16,
    load_u64,
    trailing_zeros,
)
from negmine_server.index.pages import Column
from negmine_server.scan.admission import Filters, Pages, offer, weight_range
from negmine_server.scan.lanes import LOOK_UPS, QUAD, SPACE_BYTES, quad_reaching, reaching, short_at
from negmine_server.scan.plan import Plan, Tile, fill
from negmine_server.scan.topr import Buffers

_CODES = int(Column.CODES)
_CORRECTIONS = int(Column.CORRECTIONS)
_BYTE_MAX, _SUM_MAX = 255, 65_535
# What float32 arithmetic may lose of a product of three, and room below its smallest normal numbers.
_ROUNDING, _SMALLEST = 1e-6, 1e-30


class Anchors(NamedTuple):
    """The anchors of an asymmetric scan as tables, and its working space."""

    sums: NDArray[np.int16]  # [B, 16·W, 16] Σ value over the set bits of four bits of a code
    totals: I64  # [B] Σ value
    levels: NDArray[np.uint8]  # [B, 16·W, 16] the same from the least on, in steps of width / 2, rounded up
    widths: NDArray[np.float64]  # [B]
    bases: NDArray[np.float64]  # [B]
    scales: F32  # [B]
    bounds: I64  # [B] a row may enter whose sum of levels is at least this
    space: U64  # what the kernels leave


def anchors_of(query: Query) -> Anchors:
    """The anchors of a query, ready to be scanned."""
    assert query.values is not None, "asymmetric scores need values"
    anchors, bits = query.values.shape
    tables = _tables(as_compiled(query.values), bits // 8)
    return Anchors(
        *tables, as_compiled(query.scales), np.zeros(anchors, np.int64), np.empty(SPACE_BYTES // 8, np.uint64)
    )


@compiled
def _tables(
    values: NDArray[np.int8], width: int
) -> tuple[NDArray[np.int16], I64, NDArray[np.uint8], NDArray[np.float64], NDArray[np.float64]]:
    anchors = values.shape[0]
    sums = np.zeros((anchors, 2 * width, 16), np.int16)
    levels = np.empty((anchors, 2 * width, 16), np.uint8)
    totals = np.zeros(anchors, np.int64)
    widths, bases = np.empty(anchors), np.empty(anchors)
    lows, spans = np.empty(2 * width, np.int64), np.empty(2 * width, np.int64)
    for q in range(anchors):
        for place in range(2 * width):
            low = high = np.int64(0)
            for j in range(4):
                value: Scalar = np.int64(values[q, 4 * place + j])
                for k in range(1 << j):
                    sums[q, place, k + (1 << j)] = sums[q, place, k] + value
                totals[q] += value
                low, high = low + min(value, 0), high + max(value, 0)
            lows[place], spans[place] = low, high - low
        widest = np.int64(1)
        for place in range(0, 2 * width, LOOK_UPS):
            widest = max(widest, spans[place : place + LOOK_UPS].sum())
        step = widest / (_BYTE_MAX - LOOK_UPS)  # every entry is rounded up by less than one
        for place in range(2 * width):
            for k in range(16):
                levels[q, place, k] = np.ceil((sums[q, place, k] - lows[place]) / step)
        widths[q], bases[q] = 2 * step, 2 * lows.sum() - totals[q]
    return sums, totals, levels, widths, bases


@inlined
def dot_at(codes_at: Scalar, words: int, position: int, anchors: Anchors, q: int) -> Scalar:
    """The integer dot product of one row."""
    total = np.int64(0)
    at = np.uint64(anchors.sums.ctypes.data) + np.uint64(q * words * 512)
    for byte in range(8 * words):
        bits = np.int64(load_byte(codes_at, words, position, byte))
        total += load_i16(at, 32 * byte + (bits & 15)) + load_i16(at, 32 * byte + 16 + (bits >> 4))
    return 2 * total - anchors.totals[q]


@inlined
def score_at(pages: Pages, slot: int, position: int, anchors: Anchors, q: int) -> Scalar:
    dot = dot_at(pages.directory[_CODES, slot], pages.words, position, anchors, q)
    return (np.float32(dot) * load_f32(pages.directory[_CORRECTIONS, slot], position)) * anchors.scales[q]


@inlined
def _lowest(bar: Scalar) -> Scalar:
    """A score that no product reaches whose float32 value falls short of the bar."""
    return np.float64(bar) - np.abs(np.float64(bar)) * _ROUNDING - _SMALLEST


@inlined
def _tune(buffers: Buffers, anchors: Anchors, q: int, small: Scalar, large: Scalar) -> None:
    """Sets an anchor's bound to its bar, for corrections in [small, large]."""
    lowest = _lowest(buffers.bar_scores[q])
    weight = np.float64(large if lowest > 0 else small) * np.float64(anchors.scales[q])
    # A step is left to the rounding of the table and of this line.
    bound = (lowest / weight - anchors.bases[q]) / anchors.widths[q] - 1
    anchors.bounds[q] = np.int64(min(bound, _SUM_MAX)) if bound > 0 else 0  # NaN: every row


@inlined
def _take(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    anchors: Anchors,
    q: int,
    first: int,
    mask: Scalar,
    k: int,
) -> Scalar:
    """Scores the rows of a group's mask that may reach the bar, and offers them; True if the bar was raised."""
    raised, space = False, np.uint64(anchors.space.ctypes.data)
    slot, start = first >> pages.shift, first & ((1 << pages.shift) - 1)
    scale = np.float64(anchors.scales[q])
    while mask != np.uint64(0):
        row = trailing_zeros(mask)
        mask = mask & (mask - np.uint64(1))
        factor = np.float64(load_f32(pages.directory[_CORRECTIONS, slot], start + row)) * scale
        highest = anchors.widths[q] * (short_at(space, k, row) + 1) + anchors.bases[q]
        if factor >= 0 and highest * factor < _lowest(buffers.bar_scores[q]):
            continue
        raised |= offer(pages, filters, buffers, q, slot, start + row, score_at(pages, slot, start + row, anchors, q))
    return raised


@inlined
def _table_at(anchors: Anchors, q: int) -> Scalar:
    return np.uint64(anchors.levels.ctypes.data) + np.uint64(q * anchors.levels.shape[1] * 16)


@kernel
def _pass_tile(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    anchors: Anchors,
    tile: Tile,
    groups: int,
    plan: Plan,
    start: int,
    stop: int,
) -> None:
    """Offers a tile to anchors plan.queries[start:stop]."""
    small, large = weight_range(pages, tile, groups, _CORRECTIONS)
    words, bounds, mask = pages.words, anchors.bounds, (1 << pages.shift) - 1
    space = np.uint64(anchors.space.ctypes.data)
    for i in range(start, stop):
        _tune(buffers, anchors, plan.queries[i], small, large)
    i = start
    while i < stop:
        taken = QUAD if i + QUAD <= stop else 1
        a, b, c, d = plan.queries[i], plan.queries[i], plan.queries[i], plan.queries[i]
        if taken == QUAD:
            b, c, d = plan.queries[i + 1], plan.queries[i + 2], plan.queries[i + 3]
        places = (_table_at(anchors, a), _table_at(anchors, b), _table_at(anchors, c), _table_at(anchors, d))
        for group in range(groups):
            row = tile.rows[group]
            at = pages.directory[_CODES, row >> pages.shift] + np.uint64((row & mask) * words * 8)
            if taken == QUAD:
                found = quad_reaching(at, words, places, (bounds[a], bounds[b], bounds[c], bounds[d]), space)
            else:
                found = reaching(at, words, (places[0],), (bounds[a],), space)
            if found == np.uint64(0):
                continue
            for k in range(taken):
                rows = load_u64(space, k) & tile.valid[group]
                q = plan.queries[i + k]
                if rows != np.uint64(0) and _take(pages, filters, buffers, anchors, q, row, rows, k):
                    _tune(buffers, anchors, q, small, large)
        i += taken


@kernel
def scan_asymmetric(pages: Pages, plan: Plan, filters: Filters, buffers: Buffers, anchors: Anchors, tile: Tile) -> None:
    """Scans the rows of a plan into the buffers."""
    for step in range(plan.starts.shape[0]):
        block, group, stop = plan.starts[step], 0, plan.stops[step]
        while block < stop:
            groups, block, group = fill(tile, plan, pages.words, block, group, stop)
            start, end = plan.query_offsets[step], plan.query_offsets[step + 1]
            _pass_tile(pages, filters, buffers, anchors, tile, groups, plan, start, end)
