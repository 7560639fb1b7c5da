"""Anchors as the scans want them: sign codes, int8 projections, scales; and how far an estimate may be off.

Items are encoded by whatever a collection is given for it: `on_host`, or a device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from negmine.encoder import Codes, Encoder, lengths_of

from negmine_server.domain import F32, NO_GROUP, U64, Query, Scoring
from negmine_server.hashing import mix

Encode: TypeAlias = Callable[[F32, F32], Codes]  # of embeddings [n, d] and their lengths [n]


def on_host(encoder: Encoder) -> Encode:
    """Codes made by the encoder itself."""
    return encoder.encode_measured


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """B anchors as they arrived: embeddings, or codes with lengths."""

    embeddings: F32 | None  # [B, d]
    codes: U64 | None  # [B, W]
    norms: F32 | None  # [B], with codes

    @property
    def rows(self) -> int:
        """B."""
        source = self.codes if self.embeddings is None else self.embeddings
        assert source is not None
        return len(source)


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Encoded anchors: a query without filters, and what turns its scores into the reply's."""

    query: Query
    offsets: F32  # [B], added to every score: <q, mean> where the encoder subtracts one
    keys: U64  # [B], hashes of the codes: name an anchor by its content


def encode(anchors: Anchors, encoder: Encoder, scoring: Scoring, *, with_vectors: bool) -> Encoded:
    """Anchors for one scan, `with_vectors` for rescoring. An anchor encodes the same alone as in any batch.

    ASYMMETRIC: int8 values `round(127 z / max|z|)` of the projection z = R q, with scale `max|z| / 127`.
    """
    offsets = np.zeros(anchors.rows, np.float32)
    values = vectors = None
    if anchors.embeddings is None:
        assert anchors.codes is not None
        codes = np.ascontiguousarray(anchors.codes)
        scales = np.ones(anchors.rows, np.float32) if anchors.norms is None else anchors.norms
    else:
        lengths = lengths_of(anchors.embeddings)
        encoded = encoder.encode_measured(anchors.embeddings, lengths)
        codes, scales = encoded.words, encoded.norms
        if with_vectors or scoring is not Scoring.SYMMETRIC:
            vectors = np.require(encoder.prepare(anchors.embeddings, lengths), requirements=["C", "W"])
        if scoring is Scoring.ASYMMETRIC:
            assert vectors is not None
            values, scales = _quantise(encoder, vectors)
            if encoder.mean is not None:
                offsets = (vectors.astype(np.float64) @ encoder.mean.astype(np.float64)).astype(np.float32)
        elif scoring is Scoring.FLOAT:
            scales = np.ones(anchors.rows, np.float32)
    rows = anchors.rows
    query = Query(
        scoring=scoring,
        codes=codes,
        values=values,
        scales=np.ascontiguousarray(scales, np.float32),
        vectors=vectors,
        after_scores=np.full(rows, np.inf, np.float32),
        after_ids=np.full(rows, -1, np.int64),
        floors=np.full(rows, -np.inf, np.float32),
        exclude_groups=np.full(rows, NO_GROUP, np.int64),
        require_tags=np.zeros(rows, np.uint64),
        forbid_tags=np.zeros(rows, np.uint64),
        min_steps=np.zeros(rows, np.int64),
    )
    return Encoded(query, offsets, _keys(codes))


def _quantise(encoder: Encoder, vectors: F32) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int8]], F32]:
    z = encoder.project(vectors)
    largest = np.abs(z).max(axis=1)
    scales = (largest / 127).astype(np.float32)
    steps = np.where(largest > 0, 127 / np.where(largest > 0, largest, 1), 0)
    return np.rint(z * steps[:, None]).astype(np.int8), scales


def _keys(codes: U64) -> U64:
    keys = np.zeros(len(codes), np.uint64)
    for word in codes.T:
        keys = mix(keys ^ word)
    return keys


def standard_errors(scoring: Scoring, scores: F32, lengths: F32, bits: int, dimension: int) -> F32:
    """How far estimated scores may be off, one standard deviation, in the scores' shape; 0 for FLOAT.

    `lengths` = anchor's length times item's length, broadcastable to the scores (1 for cosine). With
    c = score / lengths = cos θ: ASYMMETRIC sin θ sqrt((π/2 - min(b, d)/d) / b), the RaBitQ estimator's deviation for
    Gaussian-like projections, where b < d adds the part of the anchor that no projection sees (our derivation).
    SYMMETRIC π sin θ sqrt(p (1 - p) / b) with p = θ/π, from Hamming ~ Binomial(b, θ/π).
    """
    if scoring is Scoring.FLOAT:
        return np.zeros_like(scores)
    cosines = np.clip(scores / lengths, -1, 1)
    sines = np.sqrt(1 - cosines * cosines)
    if scoring is Scoring.ASYMMETRIC:
        spread = np.sqrt((np.pi / 2 - min(bits, dimension) / dimension) / bits)
    else:
        p = np.arccos(cosines) / np.pi
        spread = np.pi * np.sqrt(p * (1 - p) / bits)
    return np.asarray(lengths * sines * spread, np.float32)
