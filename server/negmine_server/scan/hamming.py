"""Symmetric scores: sign code against sign code.

    score = table[h] · (norm of the item · scale of the anchor, for inner product), table[h] = float32(cos(π·h / b))

with h the Hamming distance of b bits (P(bits differ) = θ/π; Goemans and Williamson 1995). The table falls strictly, so
a bar on scores is a limit on integer distances, and the kernel compares integers. For inner product the limit is
widened to what any norm in the tile allows; float32 products are monotone in each factor, so no row is lost.
"""

from __future__ import annotations

import numpy as np

from negmine_server.domain import F32, I64, U64
from negmine_server.index.layout import load_word
from negmine_server.index.native import Scalar, inlined, kernel, load_f32, popcount, trailing_zeros
from negmine_server.index.pages import Column
from negmine_server.scan.admission import Filters, Pages, offer
from negmine_server.scan.simd import near_mask
from negmine_server.scan.topr import Buffers

_CODES = int(Column.CODES)
_NORMS = int(Column.NORMS)
_TILE_BYTES = 16_384  # codes that stay in the first-level cache while the anchors pass


def cosine_table(bits: int) -> F32:
    """float32 [bits + 1]: the cosine that a Hamming distance stands for."""
    return np.cos(np.pi * np.arange(bits + 1) / bits).astype(np.float32)


@inlined
def distance(codes_at: Scalar, words: int, position: int, query: U64) -> Scalar:
    """Hamming distance of one row to query [W]."""
    total = 0
    for word in range(words):
        total += popcount(load_word(codes_at, words, position, word) ^ query[word])
    return total


@inlined
def norm_at(pages: Pages, slot: int, position: int) -> Scalar:
    column = pages.directory[_NORMS, slot]
    return load_f32(column, position) if column != 0 else np.float32(1.0)


@kernel
def _norm_range(pages: Pages, slot: int, start: int, stop: int) -> tuple[Scalar, Scalar]:
    low = high = norm_at(pages, slot, start)
    for position in range(start + 1, stop):
        norm = norm_at(pages, slot, position)
        low, high = min(low, norm), max(high, norm)
    return low, high


@kernel
def _limit(table: F32, bar: Scalar, small: Scalar, large: Scalar) -> Scalar:
    """The largest distance at which a weight in [small, large] can reach the bar, -1 if none."""
    weight = large if bar > 0 else small
    low, high = 0, table.shape[0]
    while low < high:
        middle = (low + high) >> 1
        if table[middle] * weight >= bar:
            low = middle + 1
        else:
            high = middle
    return low - 1


@inlined
def _take(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    q: int,
    slot: int,
    first: int,
    mask: Scalar,
    distances: I64,
    table: F32,
    scale: Scalar,
    by_norm: bool,
) -> Scalar:
    """Offers the rows of a group's mask; True if the bar was raised."""
    raised = False
    while mask != np.uint64(0):
        row = trailing_zeros(mask)
        position = first + row
        mask = mask & (mask - np.uint64(1))
        score = table[distances[row]]
        if by_norm:
            score = score * (norm_at(pages, slot, position) * scale)
        raised |= offer(pages, filters, buffers, q, slot, position, score)
    return raised


@kernel
def scan_hamming(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    codes: U64,
    scales: F32,
    table: F32,
    by_norm: bool,
    limits: I64,
    distances: I64,
) -> None:
    """Scans every page for anchors with codes [B, W] into the buffers; limits [B], distances [64]: working space."""
    words = pages.words
    anchors = codes.shape[0]
    query_at, distances_at = np.uint64(codes.ctypes.data), np.uint64(distances.ctypes.data)
    tile = max(1, _TILE_BYTES // (512 * words))
    small = large = np.float32(1.0)
    for q in range(anchors):
        limits[q] = _limit(table, buffers.bar_scores[q], small, large)
    for slot in range(pages.counts.shape[0]):
        count = pages.counts[slot]
        base = pages.directory[_CODES, slot]
        groups = (count + 63) >> 6
        for first in range(0, groups, tile):
            last = min(first + tile, groups)
            if by_norm:
                small, large = _norm_range(pages, slot, first << 6, min(count, last << 6))
            for q in range(anchors):
                scale = scales[q] if by_norm else np.float32(1.0)
                if by_norm:
                    limits[q] = _limit(table, buffers.bar_scores[q], small * scale, large * scale)
                at = query_at + np.uint64(q * words * 8)
                for group in range(first, last):
                    mask = near_mask(base + np.uint64(group * words * 512), words, at, limits[q], distances_at)
                    if (group << 6) + 64 > count:
                        mask &= (np.uint64(1) << np.uint64(count & 63)) - np.uint64(1)
                    if mask != np.uint64(0) and _take(
                        pages, filters, buffers, q, slot, group << 6, mask, distances, table, scale, by_norm
                    ):
                        limits[q] = _limit(table, buffers.bar_scores[q], small * scale, large * scale)
