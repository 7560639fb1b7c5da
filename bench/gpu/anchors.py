"""Queries without filters, from codes or int8 values."""

from __future__ import annotations

import numpy as np
from negmine_server.domain import F32, NO_GROUP, NO_ID, U64, Query, Scoring
from numpy.typing import NDArray


def symmetric(codes: U64) -> Query:
    """Anchors given as codes [B, W]."""
    return _query(Scoring.SYMMETRIC, codes, None, np.ones(len(codes), np.float32))


def asymmetric(values: NDArray[np.int8], scales: F32) -> Query:
    """Anchors given as int8 values [B, bits] and their scales [B]; their codes are the values' signs."""
    codes = np.packbits(values >= 0, axis=1, bitorder="little").view(np.uint64)
    return _query(Scoring.ASYMMETRIC, codes, values, scales)


def _query(scoring: Scoring, codes: U64, values: NDArray[np.int8] | None, scales: F32) -> Query:
    b = len(codes)
    return Query(
        scoring=scoring,
        codes=codes,
        values=values,
        scales=scales,
        vectors=None,
        after_scores=np.full(b, np.inf, np.float32),
        after_ids=np.full(b, NO_ID, np.int64),
        floors=np.full(b, -np.inf, np.float32),
        exclude_groups=np.full(b, NO_GROUP, np.int64),
        require_tags=np.zeros(b, np.uint64),
        forbid_tags=np.zeros(b, np.uint64),
        min_steps=np.zeros(b, np.int64),
    )
