"""What a scan must answer, in plain numpy: slow, and meant to be read.

Every float32 operation is rounded by itself, in the same order as in the kernels, so answers agree bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, NO_GROUP, NO_ID, STEP_MAX, U64, Bool, Candidates, Metric, Query, Scoring
from negmine_server.index.pages import View, gather

_DOT_LANES = 16


def top_r(view: View, query: Query, r: int, bits: int, metric: Metric, *, rescored: bool = False) -> Candidates:
    """As `cpu.top_r`."""
    rows = view.everything()
    items = gather(view, rows)
    b = query.rows
    ids = np.full((b, r), NO_ID, np.int64)
    scores = np.full((b, r), -np.inf, np.float32)
    exact = np.full((b, r), -np.inf, np.float32)
    versions = np.zeros((b, r), np.int64)
    counts = np.zeros(b, np.int32)
    above = np.zeros(b, np.int64)
    for q in range(b):
        if not rows.shape[0]:
            continue
        score = _scores(items, query, q, bits, metric)
        eligible = _eligible(items, query, q, score)
        after = query.after_scores[q]
        beyond = (score < after) | ((score == after) & (items["ids"] > query.after_ids[q]))
        above[q] = np.count_nonzero(eligible & ~beyond)
        chosen = np.flatnonzero(eligible & beyond)
        best = chosen[np.lexsort((items["ids"][chosen], -score[chosen]))][:r]
        n = counts[q] = best.shape[0]
        ids[q, :n], scores[q, :n], versions[q, :n] = items["ids"][best], score[best], items["versions"][best]
        if rescored:
            exact[q, :n] = _vector_scores(items, query, q)[best]
    return Candidates(ids, scores, exact if rescored else None, versions, counts, above, view.rows)


def _scores(items: dict[str, NDArray[Any]], query: Query, q: int, bits: int, metric: Metric) -> F32:
    if query.scoring is Scoring.FLOAT:
        return _vector_scores(items, query, q)
    if query.scoring is Scoring.SYMMETRIC:
        h = np.bitwise_count(items["codes"] ^ query.codes[q]).sum(axis=1, dtype=np.int64)
        score: F32 = np.cos(np.pi * h / bits).astype(np.float32)
        if metric is Metric.INNER_PRODUCT and "norms" in items:
            return np.asarray(score * (items["norms"] * query.scales[q]))
        return score * query.scales[q] if metric is Metric.INNER_PRODUCT else score
    assert query.values is not None
    dots = (unpack_signs(items["codes"]) * query.values[q].astype(np.int64)).sum(axis=1)
    return np.asarray((dots.astype(np.float32) * items["corrections"]) * query.scales[q])


def unpack_signs(codes: U64) -> I64:
    """codes [n, W] -> [n, 64·W] of +1 and -1; bit j of an item is bit j % 64 of word j // 64."""
    bits = (codes[:, :, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    return np.where(bits.reshape(codes.shape[0], -1) == 1, 1, -1)


def _vector_scores(items: dict[str, NDArray[Any]], query: Query, q: int) -> F32:
    assert query.vectors is not None
    dots = fixed_order_dot(items["vectors"].astype(np.float32), query.vectors[q])
    return np.asarray(dots * items["scales"]) if "scales" in items else dots


def fixed_order_dot(vectors: F32, anchor: F32) -> F32:
    """vectors [n, d], anchor [d] -> [n]: lane j sums the products at j, j + 16, …; then lanes fold 8, 4, 2, 1."""
    lanes = np.zeros((vectors.shape[0], _DOT_LANES), np.float32)
    for start in range(0, vectors.shape[1], _DOT_LANES):
        products = vectors[:, start : start + _DOT_LANES] * anchor[start : start + _DOT_LANES]
        lanes[:, : products.shape[1]] += products
    width = _DOT_LANES
    while width > 1:
        width //= 2
        lanes = lanes[:, :width] + lanes[:, width:]
    return lanes[:, 0]


def _eligible(items: dict[str, NDArray[Any]], query: Query, q: int, score: F32) -> Bool:
    ids = items["ids"]
    admitted = score >= query.floors[q]
    admitted &= (items["versions"] & STEP_MAX) >= query.min_steps[q]
    groups = items.get("groups", np.full(ids.shape[0], NO_GROUP))
    admitted &= (groups != query.exclude_groups[q]) | (groups == NO_GROUP)
    tags = items.get("tags", np.zeros(ids.shape[0], np.uint64))
    admitted &= (tags & query.require_tags[q]) == query.require_tags[q]
    admitted &= (tags & query.forbid_tags[q]) == 0
    return np.asarray(admitted)
