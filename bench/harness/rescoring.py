"""Rescoring for peers that search codes: exact scores from the vectors that a collection would store, on all cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from negmine_server.domain import VectorStore
from negmine_server.vectors import stored
from numpy.typing import NDArray

from harness.ceiling import threads

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@numba.njit(nogil=True, fastmath={"reassoc", "contract"})  # not all of it: scores may be infinite
def _best(queries: F32, ids: I64, vectors: NDArray[np.int8], scales: F32, found: I64) -> None:
    """Of candidates ids [B, P] (-1 = none) the best found [B, k], by score."""
    pool, k = ids.shape[1], found.shape[1]
    scores = np.empty(pool, np.float32)
    for q in range(queries.shape[0]):
        query = queries[q]
        for i in range(pool):
            row = ids[q, i]
            if row < 0:
                scores[i] = -np.inf
                continue
            vector = vectors[row]
            total = np.float32(0)
            for j in range(query.shape[0]):
                total += query[j] * np.float32(vector[j])
            scores[i] = total * scales[row]
        bar = np.partition(scores, pool - k)[pool - k]
        passing = np.flatnonzero(scores >= bar)
        order = np.argsort(-scores[passing])[:k]
        found[q] = ids[q][passing[order]]


class Stored:
    """Vectors [n, d] as int8 with a scale a row."""

    def __init__(self, rows: F32) -> None:
        values, scales = stored(rows, VectorStore.INT8)
        assert values is not None
        assert scales is not None
        self._values, self._scales = values, scales
        self._pool = ThreadPoolExecutor(threads())
        self.rescore(rows[:1], np.zeros((1, 1), np.int64), 1)  # compiles

    @property
    def nbytes(self) -> int:
        """Of vectors and scales."""
        return self._values.nbytes + self._scales.nbytes

    def rescore(self, queries: F32, ids: I64, k: int) -> I64:
        """The best [B, k] of candidates [B, P]."""
        found = np.full((len(ids), k), -1, np.int64)

        def work(part: slice) -> None:
            _best(queries[part], ids[part], self._values, self._scales, found[part])

        width = -(-len(ids) // threads())
        list(self._pool.map(work, [slice(start, start + width) for start in range(0, len(ids), width)]))
        return found
