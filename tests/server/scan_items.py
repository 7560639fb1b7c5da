"""Random items and anchors with everything that scans read."""

from __future__ import annotations

from typing import Any

import numpy as np
from negmine_server.domain import NO_GROUP, Batch, Query, Scoring, VectorStore

DIMENSION = 37
SCORINGS = list(Scoring)
DTYPES = {VectorStore.INT8: np.int8, VectorStore.FLOAT16: np.float16, VectorStore.FLOAT32: np.float32}


def items(
    rng: np.random.Generator, n: int, words: int, store: VectorStore = VectorStore.FLOAT32, codes: int = 0
) -> Batch:
    """n random items with every column; `codes` > 0 draws codes and corrections from that many, which makes ties."""
    pool = rng.integers(0, 2**64, (codes or max(1, n), words), dtype=np.uint64)
    drawn = rng.integers(0, pool.shape[0], n) if codes else np.arange(n)
    factors = rng.uniform(0.8, 1.3, pool.shape[0]).astype(np.float32)
    vectors = rng.standard_normal((pool.shape[0], DIMENSION))[drawn]
    stored = np.rint(vectors * 30).astype(np.int8) if store is VectorStore.INT8 else vectors.astype(DTYPES[store])
    return Batch(
        ids=rng.permutation(n).astype(np.int64) * 3,
        versions=rng.integers(0, 50, n),
        codes=np.ascontiguousarray(pool[drawn]),
        corrections=factors[drawn],
        norms=rng.uniform(0.1, 4, pool.shape[0]).astype(np.float32)[drawn],
        groups=rng.integers(NO_GROUP, 4, n),
        tags=rng.integers(0, 16, n).astype(np.uint64),
        vectors=np.ascontiguousarray(stored),
        scales=rng.uniform(0.01, 0.05, n).astype(np.float32) if store is VectorStore.INT8 else None,
    )


def admitting_all(b: int) -> dict[str, Any]:
    """The fields of a query of b anchors that filter, so that they do not."""
    return {
        "after_scores": np.full(b, np.inf, np.float32),
        "after_ids": np.full(b, -1, np.int64),
        "floors": np.full(b, -np.inf, np.float32),
        "exclude_groups": np.full(b, NO_GROUP, np.int64),
        "require_tags": np.zeros(b, np.uint64),
        "forbid_tags": np.zeros(b, np.uint64),
        "min_steps": np.zeros(b, np.int64),
    }


def anchors(rng: np.random.Generator, b: int, words: int, scoring: Scoring, magnitude: int = 127) -> Query:
    return Query(
        scoring=scoring,
        codes=rng.integers(0, 2**64, (b, words), dtype=np.uint64),
        values=rng.integers(-magnitude - 1, magnitude + 1, (b, 64 * words)).astype(np.int8),
        scales=rng.uniform(0.1, 3, b).astype(np.float32),
        vectors=rng.standard_normal((b, DIMENSION)).astype(np.float32),
        **admitting_all(b),
    )
