"""Compiles every kernel before the server serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from negmine_server.domain import NO_GROUP, Batch, Metric, Query, Scoring
from negmine_server.index.ids import IdMap
from negmine_server.index.layout import GROUP_ROWS
from negmine_server.index.pages import STORE_DTYPES
from negmine_server.index.rows import Rows
from negmine_server.scan import cpu
from negmine_server.scan.read_ahead import ask_for

_DIMENSION = 16


def warm_up() -> None:
    """Runs each kernel once on a handful of rows. No kernel is specialised by width, so one width compiles them all.

    Tens of seconds when cold; later starts load the compiled kernels from numba's cache (NUMBA_CACHE_DIR) in a second.
    """
    IdMap(0).reserve(1 << 14, 0, np.zeros(1, np.uint64))  # a handful of rows would not make it grow
    ask_for(np.zeros(1, np.uint64), 1)  # nothing lies there
    query = probe()
    for store, dtype in STORE_DTYPES.items():
        rows = Rows(1, store, _DIMENSION, page_rows=GROUP_ROWS)
        n = GROUP_ROWS
        ids = np.arange(n)
        batch = Batch(
            ids=ids,
            versions=np.zeros(n, np.int64),
            codes=np.zeros((n, 1), np.uint64),
            corrections=np.ones(n, np.float32),
            norms=np.ones(n, np.float32),
            vectors=np.ones((n, _DIMENSION), dtype),
        )
        rows.apply(batch)
        rows.apply(batch)
        rows.apply(Batch(ids=ids[:9], versions=np.zeros(9, np.int64), time_ms=1))
        restored = Rows(1, store, _DIMENSION, page_rows=GROUP_ROWS)
        frozen = rows.freeze()
        restored.restore(frozen.parts(), frozen.tombstones)
        located = restored.locate(ids[9:11])
        for scoring in Scoring:
            asked = replace(query, scoring=scoring)
            cpu.top_r(located.view, asked, 2, 64, Metric.INNER_PRODUCT, rescored=True)
            cpu.score_pairs(located.view, asked, np.zeros(2, np.int64), located.rows, Metric.INNER_PRODUCT)


def probe() -> Query:
    """One anchor of 64 bits, with every kind of input."""
    return Query(
        scoring=Scoring.SYMMETRIC,
        codes=np.zeros((1, 1), np.uint64),
        values=np.ones((1, 64), np.int8),
        scales=np.ones(1, np.float32),
        vectors=np.ones((1, _DIMENSION), np.float32),
        after_scores=np.full(1, np.inf, np.float32),
        after_ids=np.full(1, -1, np.int64),
        floors=np.full(1, -np.inf, np.float32),
        exclude_groups=np.full(1, NO_GROUP, np.int64),
        require_tags=np.zeros(1, np.uint64),
        forbid_tags=np.zeros(1, np.uint64),
        min_steps=np.zeros(1, np.int64),
    )
