"""Top-R on CPU cores. Each call runs on one core without the GIL: callers split anchors or shards over threads."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from negmine_server.domain import F32, I64, NO_ID, Candidates, Metric, Query, Scoring, VectorStore
from negmine_server.index.native import as_compiled, kernel, load_i64
from negmine_server.index.pages import Column, View
from negmine_server.scan import asymmetric, hamming
from negmine_server.scan.admission import Pages, filters_of, pages_of
from negmine_server.scan.asymmetric import scan_asymmetric, score_at
from negmine_server.scan.floats import exact_scores, scan_floats
from negmine_server.scan.hamming import distance, norm_at, scan_hamming
from negmine_server.scan.plan import Plan, everything, open_tile
from negmine_server.scan.topr import Buffers, finish, open_buffers

_CODES = int(Column.CODES)
_VERSIONS = int(Column.VERSIONS)


def top_r(
    view: View, query: Query, r: int, bits: int, metric: Metric, *, rescored: bool = False, plan: Plan | None = None
) -> Candidates:
    """The best r visible rows per anchor that pass the query's filters: score descending, id ascending.

    Looks at what `plan` names, without one at every row. Equal to `reference.top_r` over these rows bit for bit.
    `rescored` adds exact scores from stored vectors (needs query.vectors).
    Raises MemoryError if B · r rows cannot be held: about 36 bytes each, 1.5 × that while scanning.
    """
    assert bits == view.words * 64, (bits, view.words)
    started = perf_counter()
    pages, filters = pages_of(view), filters_of(query)
    scanned = view.rows if plan is None else round(plan.pairs / max(1, query.rows))
    plan = everything(view, query.rows) if plan is None else plan
    buffers, tile = open_buffers(query, r, plan.rows), open_tile()
    if query.scoring is Scoring.SYMMETRIC:
        scan_hamming(pages, plan, filters, buffers, hamming.anchors_of(query, metric), tile)
    elif query.scoring is Scoring.ASYMMETRIC:
        scan_asymmetric(pages, plan, filters, buffers, asymmetric.anchors_of(query), tile)
    else:
        scan_floats(view, plan, query, filters, buffers)
    ids, scores, versions, rows = _results(pages, buffers, r)
    scan_ended = perf_counter()
    exact = rescore(view, query, rows) if rescored else None
    return Candidates(
        ids=ids,
        scores=scores,
        rescored=exact,
        versions=versions,
        counts=buffers.filled.astype(np.int32),
        above=buffers.above,
        scanned=scanned,
        scan_s=scan_ended - started,
        rescore_s=perf_counter() - scan_ended,
    )


def rescore(view: View, query: Query, rows: I64) -> F32:
    """Exact scores [B, R] of rows [B, R] of this view, from stored vectors; -inf where a row is -1."""
    assert query.vectors is not None, "rescoring needs the anchors' vectors"
    assert view.store is not VectorStore.NONE, "rescoring needs stored vectors"
    return exact_scores(view, rows, query.vectors)


def score_pairs(view: View, query: Query, query_index: I64, rows: I64, metric: Metric) -> F32:
    """Scores [n] of rows [n] (>= 0, located in this view) with anchors query_index [n], as the scan scores them."""
    pages = pages_of(view)
    query_index, rows = as_compiled(query_index), as_compiled(rows)
    scores = np.empty(rows.shape[0], np.float32)
    if query.scoring is Scoring.SYMMETRIC:
        _symmetric_pairs(pages, hamming.anchors_of(query, metric), query_index, rows, scores)
        return scores
    if query.scoring is Scoring.ASYMMETRIC:
        used, inverse = np.unique(query_index, return_inverse=True)
        anchors = asymmetric.anchors_of(query.take(used))
        _asymmetric_pairs(pages, anchors, inverse.astype(np.int64), rows, scores)
        return scores
    assert query.vectors is not None, "float scores need vectors"
    return exact_scores(view, rows[:, None], query.vectors[query_index])[:, 0]


def _results(pages: Pages, buffers: Buffers, r: int) -> tuple[I64, F32, I64, I64]:
    anchors = buffers.filled.shape[0]
    ids = np.full((anchors, r), NO_ID, np.int64)
    scores = np.full((anchors, r), -np.inf, np.float32)
    versions = np.zeros((anchors, r), np.int64)
    rows = np.full((anchors, r), -1, np.int64)
    finish(buffers, ids, scores, rows)
    _read_versions(pages, rows, versions)
    return ids, scores, versions, rows


@kernel
def _read_versions(pages: Pages, rows: I64, versions: I64) -> None:
    mask = (1 << pages.shift) - 1
    for q in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            row = rows[q, i]
            if row >= 0:
                versions[q, i] = load_i64(pages.directory[_VERSIONS, row >> pages.shift], row & mask)


@kernel
def _symmetric_pairs(pages: Pages, anchors: hamming.Anchors, query_index: I64, rows: I64, scores: F32) -> None:
    for i in range(rows.shape[0]):
        q, slot, position = query_index[i], rows[i] >> pages.shift, rows[i] & ((1 << pages.shift) - 1)
        score = anchors.table[distance(pages.directory[_CODES, slot], pages.words, position, anchors.codes[q])]
        if anchors.by_norm:
            score = score * (norm_at(pages, slot, position) * anchors.scales[q])
        scores[i] = score


@kernel
def _asymmetric_pairs(pages: Pages, anchors: asymmetric.Anchors, query_index: I64, rows: I64, scores: F32) -> None:
    for i in range(rows.shape[0]):
        q, slot, position = query_index[i], rows[i] >> pages.shift, rows[i] & ((1 << pages.shift) - 1)
        scores[i] = score_at(pages, slot, position, anchors, q)
