"""Symmetric scores: sign code against sign code.

    score = table[h] · (norm of the item · scale of the anchor, for inner product), table[h] = float32(cos(π·h / b))

with h the Hamming distance of b bits (P(bits differ) = θ/π; Goemans and Williamson 1995). The table falls strictly, so
a bar on scores is a bound on integer distances, and the kernel compares integers. For inner product the bound is
widened to what any norm in the tile allows; float32 products are monotone in each factor, so no row is lost.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Metric, Query
from negmine_server.index.layout import load_byte
from negmine_server.index.native import (
    Scalar,
    as_compiled,
    inlined,
    kernel,
    load_f32,
    load_u64,
    popcount,
    trailing_zeros,
)
from negmine_server.index.pages import Column
from negmine_server.scan.admission import Filters, Pages, offer, weight_range
from negmine_server.scan.lanes import (
    QUAD,
    SPACE_BYTES,
    byte_at,
    near,
    near_in_bytes,
    quad_near,
    quad_near_in_bytes,
    short_at,
)
from negmine_server.scan.plan import Plan, Tile, fill
from negmine_server.scan.topr import Buffers

U32 = NDArray[np.uint32]

_CODES = int(Column.CODES)
_NORMS = int(Column.NORMS)
_BYTE_MAX = 255


class Anchors(NamedTuple):
    """The anchors of a symmetric scan, and its working space."""

    codes: U32  # [B, 8·W] each byte four times
    scales: F32  # [B]
    table: F32  # [b + 1]
    by_norm: bool
    bounds: I64  # [B] a row enters whose distance is below
    space: U64  # what the kernels leave


@cache
def cosine_table(bits: int) -> F32:
    """float32 [bits + 1]: the cosine that a Hamming distance stands for."""
    return np.cos(np.pi * np.arange(bits + 1) / bits).astype(np.float32)


def anchors_of(query: Query, metric: Metric) -> Anchors:
    """The anchors of a query, ready to be scanned."""
    codes = as_compiled(query.codes).view(np.uint8) * np.uint32(0x01010101)
    bits = 64 * query.codes.shape[1]
    space = np.empty(SPACE_BYTES // 8, np.uint64)
    bounds = np.full(query.rows, bits + 1)
    return Anchors(codes, as_compiled(query.scales), cosine_table(bits), metric is Metric.INNER_PRODUCT, bounds, space)


@inlined
def distance(codes_at: Scalar, words: int, position: int, code: U32) -> Scalar:
    """Hamming distance of one row to an anchor's code [8·W], each byte four times."""
    total = 0
    for byte in range(8 * words):
        total += popcount(np.uint64(load_byte(codes_at, words, position, byte) ^ np.uint8(code[byte])))
    return total


@inlined
def norm_at(pages: Pages, slot: int, position: int) -> Scalar:
    column = pages.directory[_NORMS, slot]
    return load_f32(column, position) if column != 0 else np.float32(1.0)


@inlined
def _bound(table: F32, bar: Scalar, small: Scalar, large: Scalar, bound: int) -> Scalar:
    """The lowest distance at which no weight in [small, large] reaches the bar; `bound` is where to start looking."""
    weight = large if bar > 0 else small
    while bound < table.shape[0] and not table[bound] * weight < bar:  # NaN: every row
        bound += 1
    while bound > 0 and table[bound - 1] * weight < bar:
        bound -= 1
    return bound


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
    in_bytes: bool,
) -> Scalar:
    """Offers the rows of a group's mask; True if the bar was raised."""
    raised, space = False, np.uint64(anchors.space.ctypes.data)
    slot, start = first >> pages.shift, first & ((1 << pages.shift) - 1)
    while mask != np.uint64(0):
        row = trailing_zeros(mask)
        mask = mask & (mask - np.uint64(1))
        score = anchors.table[byte_at(space, k, row) if in_bytes else short_at(space, k, row)]
        if anchors.by_norm:
            score = score * (norm_at(pages, slot, start + row) * anchors.scales[q])
        raised |= offer(pages, filters, buffers, q, slot, start + row, score)
    return raised


@inlined
def _code_at(anchors: Anchors, q: int) -> Scalar:
    return np.uint64(anchors.codes.ctypes.data) + np.uint64(q * anchors.codes.shape[1] * 4)


@inlined
def _tune(buffers: Buffers, anchors: Anchors, q: int, small: Scalar, large: Scalar) -> None:
    """Sets an anchor's bound to its bar, for norms in [small, large]."""
    scale = anchors.scales[q] if anchors.by_norm else np.float32(1.0)
    bar = buffers.bar_scores[q]
    anchors.bounds[q] = _bound(anchors.table, bar, small * scale, large * scale, anchors.bounds[q])


@inlined
def _near(
    at: Scalar, words: int, places: tuple[Scalar, ...], bounds: tuple[int, ...], space: Scalar, quad: bool, short: bool
) -> Scalar:
    if quad and short:
        return quad_near_in_bytes(at, words, places, bounds, space)
    if quad:
        return quad_near(at, words, places, bounds, space)
    if short:
        return near_in_bytes(at, words, (places[0],), (bounds[0],), space)
    return near(at, words, (places[0],), (bounds[0],), space)


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
    small = large = np.float32(1.0)
    if anchors.by_norm:
        small, large = weight_range(pages, tile, groups, _NORMS)
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
        places = (_code_at(anchors, a), _code_at(anchors, b), _code_at(anchors, c), _code_at(anchors, d))
        for group in range(groups):
            row = tile.rows[group]
            at = pages.directory[_CODES, row >> pages.shift] + np.uint64((row & mask) * words * 8)
            limits = (bounds[a], bounds[b], bounds[c], bounds[d])
            in_bytes = max(limits[0], limits[1], limits[2], limits[3]) <= _BYTE_MAX
            found = _near(at, words, places, limits, space, taken == QUAD, in_bytes)
            if found == np.uint64(0):
                continue
            for k in range(taken):
                mask_of = load_u64(space, k) & tile.valid[group]
                if mask_of != np.uint64(0):
                    q = plan.queries[i + k]
                    if _take(pages, filters, buffers, anchors, q, row, mask_of, k, in_bytes):
                        _tune(buffers, anchors, q, small, large)
        i += taken


@kernel
def scan_hamming(pages: Pages, plan: Plan, filters: Filters, buffers: Buffers, anchors: Anchors, tile: Tile) -> None:
    """Scans the rows of a plan into the buffers."""
    for step in range(plan.starts.shape[0]):
        block, group, stop = plan.starts[step], 0, plan.stops[step]
        while block < stop:
            groups, block, group = fill(tile, plan, pages.words, block, group, stop)
            start, end = plan.query_offsets[step], plan.query_offsets[step + 1]
            _pass_tile(pages, filters, buffers, anchors, tile, groups, plan, start, end)
