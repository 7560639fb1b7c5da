"""The best r of a stream, per anchor, in bounded memory.

Each anchor has a buffer somewhat larger than r. A candidate enters if it beats the anchor's worst admitted one; a full
buffer is cut back to its best r by quickselect, which raises the bar. Whatever the order of arrival, a candidate costs
amortised constant time, and the answer is the exact best r by (score descending, id ascending).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I32, I64, Query
from negmine_server.index.native import Scalar, inlined, kernel

_ID_LAST = np.iinfo(np.int64).max
_BINS = 256
_ID_DIGITS, _SCORE_DIGITS = 8, 4


class Buffers(NamedTuple):
    """Candidates per anchor, and the bar (score, id) that a newcomer must beat."""

    scores: F32  # [B, C]
    ids: I64  # [B, C]
    rows: I32  # [B, C] row numbers of the view
    filled: I64  # [B]
    bar_scores: F32  # [B]
    bar_ids: I64  # [B] a score equal to the bar's needs a lower id
    above: I64  # [B] eligible rows that do not come after the cursor
    score_space: F32  # [C + 1] working space
    id_space: I64  # [C + 1]
    bins: I64  # [256]
    orders: I64  # [2, C]
    r: int


def open_buffers(query: Query, r: int, rows: int) -> Buffers:
    """Buffers for the best r of `rows` rows; the floors are the first bars."""
    b = query.rows
    r = min(r, rows)
    capacity = max(1, min(rows, r + max(96, r // 2)))
    return Buffers(
        np.empty((b, capacity), np.float32),
        np.empty((b, capacity), np.int64),
        np.empty((b, capacity), np.int32),
        np.zeros(b, np.int64),
        query.floors.astype(np.float32),
        np.full(b, _ID_LAST, np.int64),
        np.zeros(b, np.int64),
        np.empty(capacity + 1, np.float32),
        np.empty(capacity + 1, np.int64),
        np.empty(_BINS, np.int64),
        np.empty((2, capacity), np.int64),
        r,
    )


@inlined
def before(score: Scalar, key: int, other_score: Scalar, other_key: int) -> Scalar:
    """Result order: score descending, id ascending."""
    return score > other_score or (score == other_score and key < other_key)


@inlined
def _rank(score: Scalar) -> Scalar:
    """int64 that orders as scores do; both zeros are one."""
    bits = np.int64(np.float32(score + np.float32(0.0)).view(np.int32))
    return bits if bits >= 0 else bits ^ np.int64(0x7FFFFFFF)


@inlined
def _pick(low: int, high: int, turn: int) -> int:
    """A scattered position in [low, high): no usual order of keys makes the pivots bad."""
    mixed = np.uint64(low * 3 + high * 5 + turn) * np.uint64(0x9E3779B97F4A7C15)
    return low + np.int64(((mixed >> np.uint64(32)) * np.uint64(high - low)) >> np.uint64(32))


@kernel
def nth_smallest(keys: NDArray[Any], n: int, k: int) -> Scalar:
    """The k-th smallest (from 0) of the first n keys, which it reorders.

    Quickselect whose inner loop has no branch to mispredict; equal keys are split off, so ties cost no more.
    """
    low, high = 0, n
    while True:
        first, middle, last = keys[_pick(low, high, 1)], keys[_pick(low, high, 2)], keys[_pick(low, high, 3)]
        pivot = max(min(first, middle), min(max(first, middle), last))
        split = low
        for i in range(low, high):
            key = keys[i]
            keys[i] = keys[split]
            keys[split] = key
            split += key < pivot
        if k < split:
            high = split
            continue
        above = split
        for i in range(split, high):
            key = keys[i]
            keys[i] = keys[above]
            keys[above] = key
            above += key == pivot
        if k < above:
            return pivot
        low = above


@kernel
def _nth_best(scores: F32, n: int, r: int, space: F32, bins: I64) -> Scalar:
    """The r-th highest of the first n scores: a histogram of their range, then a selection in the bin where it lies."""
    low = high = _rank(scores[0])
    for i in range(1, n):
        rank = _rank(scores[i])
        low, high = min(low, rank), max(high, rank)
    shift = 0
    while (high - low) >> shift >= _BINS:
        shift += 1
    bins[:_BINS] = 0
    for i in range(n):
        bins[(high - _rank(scores[i])) >> shift] += 1
    better = bin_ = 0
    while better + bins[bin_] < r:
        better += bins[bin_]
        bin_ += 1
    inside = 0
    for i in range(n):
        space[inside] = -scores[i]
        inside += (high - _rank(scores[i])) >> shift == bin_
    return -nth_smallest(space, inside, r - 1 - better)


@kernel
def select_best(
    scores: F32, ids: I64, rows: I32, n: int, r: int, score_space: F32, id_space: I64, bins: I64
) -> tuple[Scalar, Scalar]:
    """Moves the best r of the first n > r to the front, in any order; returns the score and id of the worst of them."""
    bar = _nth_best(scores, n, r, score_space, bins)
    better = ties = 0
    for i in range(n):
        better += scores[i] > bar
        id_space[ties] = ids[i]
        ties += scores[i] == bar
    bar_id = nth_smallest(id_space, ties, r - better - 1)
    kept = 0
    for i in range(n):
        keep = (scores[i] > bar) | ((scores[i] == bar) & (ids[i] <= bar_id))
        scores[kept], ids[kept], rows[kept] = scores[i], ids[i], rows[i]
        kept += keep
    return bar, bar_id


@inlined
def _digit(score: Scalar, key: int, digit: int) -> Scalar:
    """Byte `digit` of twelve, from the lowest, of what orders results: the score falling, then the id."""
    if digit < _ID_DIGITS:
        return (key >> (8 * digit)) & 255
    return 255 - (((_rank(score) + (1 << 31)) >> (8 * (digit - _ID_DIGITS))) & 255)


@kernel
def sort_best(scores: F32, ids: I64, n: int, orders: I64, bins: I64) -> Scalar:
    """Radix sort of the first n into result order: which of orders [2, >= n] then holds their places."""
    for i in range(n):
        orders[0, i] = i
    side = 0
    for digit in range(_ID_DIGITS + _SCORE_DIGITS):
        bins[:256] = 0
        for i in range(n):
            bins[_digit(scores[i], ids[i], digit)] += 1
        if n == 0 or bins[_digit(scores[0], ids[0], digit)] == n:
            continue
        total = 0
        for k in range(256):
            count = bins[k]
            bins[k] = total
            total += count
        for i in range(n):
            item = orders[side, i]
            k = _digit(scores[item], ids[item], digit)
            orders[1 - side, bins[k]] = item
            bins[k] += 1
        side = 1 - side
    return side


@inlined
def push(buffers: Buffers, q: int, score: Scalar, key: int, row: int) -> Scalar:
    """Adds a candidate that beats the bar; True if the bar was raised."""
    n = buffers.filled[q]
    scores, ids, rows = buffers.scores[q], buffers.ids[q], buffers.rows[q]
    scores[n], ids[n], rows[n] = score, key, row
    n += 1
    buffers.filled[q] = n
    if n < scores.shape[0] or n <= buffers.r:
        return False
    r = buffers.r
    bar = select_best(scores, ids, rows, n, r, buffers.score_space, buffers.id_space, buffers.bins)
    buffers.filled[q] = r
    buffers.bar_scores[q], buffers.bar_ids[q] = bar
    return True


@kernel
def finish(buffers: Buffers, ids: I64, scores: F32, rows: I64) -> None:
    """Writes every anchor's best r into [B, >= r], sorted; the rest stays as it is."""
    for q in range(buffers.filled.shape[0]):
        n = buffers.filled[q]
        if n > buffers.r:
            select_best(
                buffers.scores[q],
                buffers.ids[q],
                buffers.rows[q],
                n,
                buffers.r,
                buffers.score_space,
                buffers.id_space,
                buffers.bins,
            )
            n = buffers.filled[q] = buffers.r
        side = sort_best(buffers.scores[q], buffers.ids[q], n, buffers.orders, buffers.bins)
        for i in range(n):
            item = buffers.orders[side, i]
            ids[q, i], scores[q, i] = buffers.ids[q, item], buffers.scores[q, item]
            rows[q, i] = buffers.rows[q, item]
