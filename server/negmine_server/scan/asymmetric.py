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
from negmine_server.index.native import Scalar, compiled, inlined, kernel, load_f32, popcount, trailing_zeros
from negmine_server.index.pages import Column
from negmine_server.scan.admission import Filters, Pages, offer
from negmine_server.scan.simd import weighted_mask
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


@inlined
def _take(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    q: int,
    slot: int,
    first: int,
    mask: Scalar,
    scores: F32,
) -> None:
    while mask != np.uint64(0):
        row = trailing_zeros(mask)
        mask = mask & (mask - np.uint64(1))
        offer(pages, filters, buffers, q, slot, first + row, scores[row])


@kernel
def scan_asymmetric(pages: Pages, filters: Filters, buffers: Buffers, planes: Planes, scales: F32, scores: F32) -> None:
    """Scans every page for anchors given as bit planes into the buffers; scores [64] is working space."""
    words = pages.words
    anchors = scales.shape[0]
    planes_at, scores_at = np.uint64(planes.words.ctypes.data), np.uint64(scores.ctypes.data)
    tile = max(1, _TILE_BYTES // (512 * words))
    for slot in range(pages.counts.shape[0]):
        count = pages.counts[slot]
        codes_at = pages.directory[_CODES, slot]
        corrections_at = pages.directory[_CORRECTIONS, slot]
        groups = (count + 63) >> 6
        for first in range(0, groups, tile):
            last = min(first + tile, groups)
            for q in range(anchors):
                at = planes_at + np.uint64(q * _PLANES_MAX * words * 8)
                scale, total, used = scales[q], planes.totals[q], planes.counts[q]
                for group in range(first, last):
                    mask = weighted_mask(
                        codes_at + np.uint64(group * words * 512),
                        words,
                        at,
                        used,
                        total,
                        corrections_at + np.uint64(group * 256),
                        scale,
                        buffers.bar_scores[q],
                        scores_at,
                    )
                    if (group << 6) + 64 > count:
                        mask &= (np.uint64(1) << np.uint64(count & 63)) - np.uint64(1)
                    if mask != np.uint64(0):
                        _take(pages, filters, buffers, q, slot, group << 6, mask, scores)
