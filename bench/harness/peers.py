"""The exhaustive scans that users would write: FAISS, USearch and numpy, over the same codes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # FAISS's threads do not spin through the calls of others

import faiss
from usearch.index import MetricKind
from usearch.index import search as usearch_search

from harness.ceiling import threads

U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]


class FaissFlat:
    """FAISS IndexBinaryFlat with the fastest of its settings: one thread or all, heaps or counters."""

    def __init__(self, bits: int) -> None:
        self._index: Any = faiss.IndexBinaryFlat(bits)
        self._best: dict[tuple[int, int], tuple[int, bool]] = {}

    def add(self, codes: U64) -> None:
        """Codes [n, W]."""
        self._index.add(codes.view(np.uint8))

    def settle(self, codes: U64, k: int) -> dict[str, Any]:
        """Tries the settings on these anchors, once for each number of anchors and k; returns the fastest."""
        shape = (len(codes), k)
        if shape not in self._best:
            settings = [(cores, heap) for cores in sorted({1, threads()}) for heap in (True, False)]
            self._best[shape] = min(settings, key=lambda setting: self._seconds(codes, k, setting))
        cores, heap = self._best[shape]
        return {"threads": cores, "heap": heap}

    def search(self, codes: U64, k: int) -> NDArray[np.int32]:
        """Distances [B, k], ascending."""
        self._apply(self._best[len(codes), k])
        return np.asarray(self._index.search(codes.view(np.uint8), k)[0])

    def _apply(self, setting: tuple[int, bool]) -> None:
        faiss.omp_set_num_threads(setting[0])
        self._index.use_heap = setting[1]

    def _seconds(self, codes: U64, k: int, setting: tuple[int, bool]) -> float:
        self._apply(setting)
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            self._index.search(codes.view(np.uint8), k)
            times.append(time.perf_counter() - begin)
        return min(times)


class FaissRaBitQ:
    """FAISS IndexRaBitQFastScan: float anchors against 1-bit codes of as many bits as dimensions, exhaustive."""

    name = "FAISS IndexRaBitQFastScan"

    def __init__(self, dimension: int, sample: NDArray[np.float32]) -> None:
        self._index: Any = faiss.IndexRaBitQFastScan(dimension, faiss.METRIC_INNER_PRODUCT)
        self._index.train(sample)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Rotated vectors [n, d]."""
        self._index.add(vectors)

    def search(self, vectors: NDArray[np.float32], k: int) -> I64:
        """Ids [B, k]."""
        faiss.omp_set_num_threads(threads())
        return np.asarray(self._index.search(vectors, k)[1])


def usearch_exact(codes: U64, anchors: U64, k: int) -> Callable[[], NDArray[np.float32]]:
    """USearch's exact search on all cores: distances [B, k]."""
    rows, queries = codes.view(np.uint8), anchors.view(np.uint8)

    def search() -> NDArray[np.float32]:
        found: Any = usearch_search(rows, queries, k, metric=MetricKind.Hamming, exact=True, threads=threads())
        return np.asarray(found.distances).reshape(len(anchors), -1)

    return search


def numpy_exact(codes: U64, anchors: U64, k: int) -> Callable[[], I64]:
    """Four lines of numpy: rows [B, k], nearest first, of equal distances the lower."""

    def search() -> I64:
        found = np.empty((len(anchors), k), np.int64)
        for q, anchor in enumerate(anchors):
            distances = np.bitwise_count(codes ^ anchor).sum(axis=1, dtype=np.int64)
            order = distances * len(codes) + np.arange(len(codes))  # distance, then row
            best = np.argpartition(order, k - 1)[:k]
            found[q] = best[np.argsort(order[best])]
        return found

    return search
