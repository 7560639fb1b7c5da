"""Asymmetric scores: int8 anchor against sign code (the RaBitQ family's estimate, Gao and Long 2024).

    score = (float32(dot) · correction of the item) · scale of the anchor,  dot = Σ_j value[j] · (+1 if bit j else -1)

The anchor's values are split into bit planes in two's complement, so Σ value·bit is a weighted sum of popcounts
(planes AND code) and dot = 2·Σ value·bit - Σ value. Only as many planes are read as the anchor's largest value needs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64
from negmine_server.index.layout import load_word
from negmine_server.index.native import Scalar, compiled, inlined, kernel, load_f32, popcount
from negmine_server.index.pages import Column
from negmine_server.scan.admission import Filters, Pages, offer
from negmine_server.scan.plan import Plan, Tile, fill
from negmine_server.scan.topr import Buffers

_CODES = int(Column.CODES)
_CORRECTIONS = int(Column.CORRECTIONS)
_TILE_BYTES = 16_384
_PLANES_MAX = 8


class Planes(NamedTuple):
    """Anchors split into bit planes."""

    words: U64  # [B, 8, W], the sign plane first, then from the highest weight down
    counts: I64  # [B] planes in use
    totals: I64  # [B] Σ value


@compiled
def split_planes(values: NDArray[np.int8]) -> Planes:
    """values [B, b] int8 -> bit planes."""
    anchors, bits = values.shape
    words = np.zeros((anchors, _PLANES_MAX, bits // 64), np.uint64)
    counts = np.empty(anchors, np.int64)
    totals = np.empty(anchors, np.int64)
    for q in range(anchors):
        total = magnitude = np.int64(0)
        for j in range(bits):
            value = np.int64(values[q, j])
            total += value
            magnitude |= value if value >= 0 else ~value
        count = 1
        while magnitude >> (count - 1):
            count += 1
        counts[q], totals[q] = count, total
        for plane in range(count):
            shift = np.int64(count - 1 - plane)
            for word in range(bits // 64):
                packed = np.uint64(0)
                for j in range(64):
                    bit = (np.int64(values[q, word * 64 + j]) >> shift) & 1
                    packed |= np.uint64(bit) << np.uint64(j)
                words[q, plane, word] = packed
    return Planes(words, counts, totals)


@inlined
def dot_at(codes_at: Scalar, words: int, position: int, planes: Planes, q: int) -> Scalar:
    """The integer dot product of one row."""
    total = 0
    for plane in range(planes.counts[q]):
        bits = 0
        for word in range(words):
            bits += popcount(load_word(codes_at, words, position, word) & planes.words[q, plane, word])
        total = -bits if plane == 0 else 2 * total + bits
    return 2 * total - planes.totals[q]


@inlined
def score_at(pages: Pages, slot: int, position: int, planes: Planes, q: int, scale: Scalar) -> Scalar:
    dot = dot_at(pages.directory[_CODES, slot], pages.words, position, planes, q)
    return (np.float32(dot) * load_f32(pages.directory[_CORRECTIONS, slot], position)) * scale


@kernel
def scan_asymmetric(
    pages: Pages, plan: Plan, filters: Filters, buffers: Buffers, planes: Planes, scales: F32, tile: Tile
) -> None:
    """Scans the rows of a plan for anchors given as bit planes into the buffers."""
    mask = (1 << pages.shift) - 1
    for step in range(plan.starts.shape[0]):
        block, group, stop = plan.starts[step], 0, plan.stops[step]
        while block < stop:
            groups, block, group = fill(tile, plan, pages.words, block, group, stop)
            for i in range(plan.query_offsets[step], plan.query_offsets[step + 1]):
                q = np.int64(plan.queries[i])
                for k in range(groups):
                    first = tile.rows[k]
                    for row in range(first, first + popcount(tile.valid[k])):
                        score = score_at(pages, row >> pages.shift, row & mask, planes, q, scales[q])
                        offer(pages, filters, buffers, q, row >> pages.shift, row & mask, score)
