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
    stack: I64  # [64, 2] of the sort
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
        np.empty((64, 2), np.int64),
        r,
    )


@inlined
def before(score: Scalar, key: int, other_score: Scalar, other_key: int) -> Scalar:
    """Result order: score descending, id ascending."""
    return score > other_score or (score == other_score and key < other_key)


@inlined
def _swap(scores: F32, ids: I64, rows: I32, i: int, j: int) -> None:
    scores[i], scores[j] = scores[j], scores[i]
    ids[i], ids[j] = ids[j], ids[i]
    rows[i], rows[j] = rows[j], rows[i]


@inlined
def _pick(low: int, high: int, turn: int) -> int:
    """A scattered position in [low, high): no usual order of keys makes the pivots bad."""
    mixed = np.uint64(low * 3 + high * 5 + turn) * np.uint64(0x9E3779B97F4A7C15)
    return low + np.int64(((mixed >> np.uint64(32)) * np.uint64(high - low)) >> np.uint64(32))


@kernel
def _partition(scores: F32, ids: I64, rows: I32, low: int, high: int) -> Scalar:
    """Splits [low, high] so that [low, p] comes before [p + 1, high]; the pivot is the median of three."""
    first, middle, last = _pick(low, high, 1), _pick(low, high, 2), _pick(low, high, 3)
    if before(scores[middle], ids[middle], scores[first], ids[first]):
        first, middle = middle, first
    if before(scores[last], ids[last], scores[middle], ids[middle]):
        middle = first if before(scores[last], ids[last], scores[first], ids[first]) else last
    score, key = scores[middle], ids[middle]
    i, j = low - 1, high + 1
    while True:
        i += 1
        while before(scores[i], ids[i], score, key):
            i += 1
        j -= 1
        while before(score, key, scores[j], ids[j]):
            j -= 1
        if i >= j:
            return j
        _swap(scores, ids, rows, i, j)


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
def select_best(
    scores: F32, ids: I64, rows: I32, n: int, r: int, score_space: F32, id_space: I64
) -> tuple[Scalar, Scalar]:
    """Moves the best r of the first n > r to the front, in any order; returns the score and id of the worst of them."""
    for i in range(n):
        score_space[i] = -scores[i]
    bar = -nth_smallest(score_space, n, r - 1)
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


@kernel
def sort_best(scores: F32, ids: I64, rows: I32, n: int, stack: I64) -> None:
    """Sorts the first n into result order."""
    stack[0, 0], stack[0, 1] = 0, n - 1
    depth = 1
    while depth > 0:
        depth -= 1
        low, high = stack[depth, 0], stack[depth, 1]
        while high - low > 16:
            split = _partition(scores, ids, rows, low, high)
            if split - low > high - split - 1:  # the longer part waits, so the stack stays logarithmic
                stack[depth, 0], stack[depth, 1] = low, split
                low = split + 1
            else:
                stack[depth, 0], stack[depth, 1] = split + 1, high
                high = split
            depth += 1
        for i in range(low + 1, high + 1):
            j = i
            while j > low and before(scores[j], ids[j], scores[j - 1], ids[j - 1]):
                _swap(scores, ids, rows, j, j - 1)
                j -= 1


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
    bar = select_best(scores, ids, rows, n, r, buffers.score_space, buffers.id_space)
    buffers.filled[q] = r
    buffers.bar_scores[q], buffers.bar_ids[q] = bar
    return True


@kernel
def finish(buffers: Buffers) -> None:
    """Cuts every anchor to its best r, sorted."""
    for q in range(buffers.filled.shape[0]):
        scores, ids, rows = buffers.scores[q], buffers.ids[q], buffers.rows[q]
        n = buffers.filled[q]
        if n > buffers.r:
            select_best(scores, ids, rows, n, buffers.r, buffers.score_space, buffers.id_space)
            n = buffers.r
        sort_best(scores, ids, rows, n, buffers.stack)
        buffers.filled[q] = n
