"""Rows and scans of the server in this process, split over shards and threads as its engine splits them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Self

import numpy as np
from negmine.encoder import Encoder
from negmine_server.domain import Batch, Candidates, Metric, Query, Scoring
from negmine_server.encode import Anchors, encode
from negmine_server.engine.local import BLOCK_ANCHORS_MAX, BLOCK_ANCHORS_MIN
from negmine_server.engine.merge import merge
from negmine_server.engine.routing import shard_of
from negmine_server.index.rows import Rows
from negmine_server.scan import cpu
from numpy.typing import NDArray

from harness.ceiling import threads

BATCH_ROWS = 65_536


class Shards:
    """A shard a thread, to a power of two. As a context manager."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.threads = threads()
        self._rows = [Rows(encoder.words) for _ in range(1 << (self.threads - 1).bit_length())]
        self._pool = ThreadPoolExecutor(self.threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def add(self, ids: NDArray[np.int64], codes: NDArray[np.uint64], **columns: Any) -> None:
        """Rows with codes [n, W] and further columns of a Batch."""
        versions = columns.pop("versions", np.zeros(len(ids), np.int64))
        for start in range(0, len(ids), BATCH_ROWS):
            part = slice(start, start + BATCH_ROWS)
            cut = {name: values[part] for name, values in columns.items()}
            batch = Batch(ids=ids[part], versions=versions[part], codes=codes[part], **cut)
            owners = shard_of(batch.ids, len(self._rows))
            parts = [batch.take(np.flatnonzero(owners == number)) for number in range(len(self._rows))]
            list(self._pool.map(Rows.apply, self._rows, parts))

    def symmetric(self, codes: NDArray[np.uint64]) -> Query:
        """Anchors given as codes [B, W]."""
        return encode(Anchors(None, codes, None), self.encoder, Scoring.SYMMETRIC, with_vectors=False).query

    def asymmetric(self, embeddings: NDArray[np.float32]) -> Query:
        """Anchors given as embeddings [B, d]."""
        return encode(Anchors(embeddings, None, None), self.encoder, Scoring.ASYMMETRIC, with_vectors=False).query

    def search(self, query: Query, r: int) -> Candidates:
        """The best r rows per anchor: threads take anchors where there are enough of them, else shards."""
        if query.rows < self.threads * BLOCK_ANCHORS_MIN:
            return merge(list(self._pool.map(lambda rows: self._scan(rows, query, r), self._rows)), r)
        width = min(-(-query.rows // self.threads), BLOCK_ANCHORS_MAX)
        blocks = [query.take(slice(start, start + width)) for start in range(0, query.rows, width)]
        parts = list(self._pool.map(lambda block: self._in_turn(block, r), blocks))
        return replace(
            parts[0],
            ids=np.concatenate([part.ids for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            counts=np.concatenate([part.counts for part in parts]),
        )

    def _in_turn(self, query: Query, r: int) -> Candidates:
        found = self._scan(self._rows[0], query, r)
        for rows in self._rows[1:]:
            bars = np.where(found.counts >= r, found.scores[:, -1], -np.inf).astype(np.float32)
            found = merge([found, self._scan(rows, replace(query, floors=np.maximum(query.floors, bars)), r)], r)
        return found

    def _scan(self, rows: Rows, query: Query, r: int) -> Candidates:
        return cpu.top_r(rows.view, query, r, self.encoder.bits, Metric.COSINE)
