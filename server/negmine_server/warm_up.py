"""Compiles every kernel before the server turns SERVING, so that no request pays for it."""

from __future__ import annotations

import logging
import time

import numpy as np

from negmine_server.domain import Batch, Metric, Query, Scoring, VectorStore
from negmine_server.engine.merge import merge
from negmine_server.index.rows import Rows
from negmine_server.scan import cpu
from negmine_server.select.filters import Exclusions, Survivors

LOG = logging.getLogger(__name__)
_DIMENSION = 64


def warm_up() -> None:
    """Runs each kernel once on a handful of rows, for every store, metric and scoring."""
    begin = time.perf_counter()
    for store in VectorStore:
        rows = _rows(store)
        for metric in Metric:
            for scoring in Scoring:
                if store is VectorStore.NONE and scoring is Scoring.FLOAT:
                    continue
                _search(rows, scoring, metric, rescored=store is not VectorStore.NONE)
    LOG.info("kernels ready in %.2f s", time.perf_counter() - begin)


def _rows(store: VectorStore) -> Rows:
    rows = Rows(1, store, _DIMENSION, page_rows=128)
    ids = np.arange(100, dtype=np.int64)
    dtype = {VectorStore.INT8: np.int8, VectorStore.FLOAT16: np.float16}.get(store, np.float32)
    batch = Batch(
        ids=ids,
        versions=np.zeros(100, np.int64),
        codes=np.arange(100, dtype=np.uint64)[:, None],
        corrections=np.ones(100, np.float32),
        norms=np.ones(100, np.float32),
        groups=ids,
        tags=np.zeros(100, np.uint64),
        uncertainties=np.zeros(100, np.float32),
        vectors=None if store is VectorStore.NONE else np.ones((100, _DIMENSION), dtype),
        scales=np.ones(100, np.float32) if store is VectorStore.INT8 else None,
    )
    rows.apply(batch)
    rows.apply(batch)
    rows.apply(Batch(ids=ids[:50], versions=np.zeros(50, np.int64)))
    rows.apply(batch)
    rows.locate(ids)
    rows.expire_tombstones(1)
    return rows


def _search(rows: Rows, scoring: Scoring, metric: Metric, *, rescored: bool) -> None:
    query = Query(
        scoring=scoring,
        codes=np.zeros((2, 1), np.uint64),
        values=np.ones((2, 64), np.int8) if scoring is Scoring.ASYMMETRIC else None,
        scales=np.ones(2, np.float32),
        vectors=np.ones((2, _DIMENSION), np.float32),
        after_scores=np.full(2, np.inf, np.float32),
        after_ids=np.full(2, -1, np.int64),
        floors=np.full(2, -np.inf, np.float32),
        exclude_groups=np.zeros(2, np.int64),
        require_tags=np.zeros(2, np.uint64),
        forbid_tags=np.zeros(2, np.uint64),
        min_steps=np.zeros(2, np.int64),
    )
    found = cpu.top_r(rows.view, query, 4, 64, metric, rescored=rescored)
    cpu.score_pairs(rows.view, query, np.zeros(1, np.int64), np.full(1, 100, np.int64), metric)
    found = merge([found, found], 4)
    exclusions = Exclusions(
        np.zeros(2, np.int64),
        np.arange(3, dtype=np.int64),
        np.arange(2, dtype=np.int64),
        np.ones(2, np.float32),
        np.float32(1),
        np.float32(-1),
    )
    Survivors(2, 4).absorb(found, found.scores, np.arange(2), exclusions)
