"""Pools of candidates as the filters leave them: real unit vectors, by score descending and id ascending."""

from __future__ import annotations

from typing import Any

import numpy as np
from negmine_server.select.likeness import of_codes, of_vectors
from negmine_server.select.policy import Pool
from numpy.typing import ArrayLike


def pool_of(scores: ArrayLike, counts: ArrayLike | None = None, **changes: Any) -> Pool:
    """A pool with these scores [B, P], sorted; everything else at its "none", but for the changes."""
    values = np.asarray(scores, np.float32)
    rows, width = values.shape
    there = np.full(rows, width, np.int32) if counts is None else np.asarray(counts, np.int32)
    given: dict[str, Any] = {
        "ids": np.arange(100, 100 + rows * width).reshape(rows, width),
        "scores": np.where(np.arange(width) < there[:, None], values, np.float32(-np.inf)),
        "counts": there,
        "positive_scores": np.full(rows, np.nan, np.float32),
        "anchor_keys": np.arange(rows, dtype=np.uint64),
        "seeds": np.zeros(rows, np.uint64),
        "dimension": 8,
    }
    return Pool(**(given | changes))


def random_pool(counts: list[int], width: int, seed: int = 0, dimension: int = 8, *, coded: bool = False) -> Pool:
    """Anchors whose candidates are random unit vectors, some of them near; every third anchor's positive is missing."""
    random = np.random.default_rng(seed)
    rows, items = len(counts), 3 * width
    vectors = _unit(random.standard_normal((items, dimension)))
    anchors = _unit(random.standard_normal((rows, dimension)))
    candidates = np.stack([random.permutation(items)[:width] for _ in range(rows)])
    scores = np.einsum("bpd,bd->bp", vectors[candidates], anchors).astype(np.float32)
    order = np.argsort(-scores, axis=1, kind="stable")
    candidates, scores = (np.take_along_axis(array, order, axis=1) for array in (candidates, scores))
    positives = random.uniform(-0.5, 1, rows).astype(np.float32)
    positives[::3] = np.nan
    uncertainties = random.uniform(0, 2, (rows, width)).astype(np.float32)
    uncertainties[random.random((rows, width)) < 0.5] = np.nan
    codes = random.integers(0, 2**63, (items, 2), dtype=np.uint64)
    return pool_of(
        scores,
        counts,
        ids=7 * candidates,
        positive_scores=positives,
        anchor_keys=random.integers(0, 2**63, rows, dtype=np.uint64),
        seeds=random.integers(0, 2**63, rows, dtype=np.uint64),
        dimension=dimension,
        likeness=of_codes(candidates, codes, None) if coded else of_vectors(candidates, vectors),
        uncertainties=uncertainties,
    )


def rows_of(pool: Pool, rows: ArrayLike) -> Pool:
    """Some anchors of a pool, in this order."""
    chosen = np.asarray(rows)
    known = pool.likeness
    return Pool(
        pool.ids[chosen],
        pool.scores[chosen],
        pool.counts[chosen],
        pool.positive_scores[chosen],
        pool.anchor_keys[chosen],
        pool.seeds[chosen],
        pool.dimension,
        None if known is None else type(known)(known.rows[chosen], known.values, known.lengths, known.coded),
        None if pool.uncertainties is None else pool.uncertainties[chosen],
    )


def _unit(vectors: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
