"""Clustered vectors of any number, made in blocks, and their true neighbours.

A point is the normalised sum of its cluster's centre, noise in 16 directions that its cluster shares with some others,
and weaker noise in all. Clusters lie near each other (their centres scatter around fewer parents) and their sizes
follow a power law. The lengths are chosen so that k-means cells are as good a partition of it as of WordNet's glosses:
of the true 64 neighbours among 3e5 rows, the best cells with 1, 2, 5 and 10 % of the rows hold 76, 89, 94 and 96 %.
Points are independent: the first n rows are such a set by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

DIMENSION = 96
CLUSTERS = 20_000
PARENTS = 50
BASES = 512
INTRINSIC = 16
POWER = 0.7  # cluster sizes fall as rank ** -POWER
CENTRE_SPREAD = 1.0  # lengths of the parts, where the parent has length 1
LOW_RANK_NOISE = 1.5
ISOTROPIC_NOISE = 0.8
QUERY_NOISE = 0.2
BLOCK_ROWS = 65_536
SIZES = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
CACHE = Path(".cache") / "bench"


@numba.njit(nogil=True, fastmath=True)
def _place(rows: F32, labels: I64, centres: F32, bases: F32, low: F32) -> None:
    """rows [n, d], isotropic noise already in them: adds centre and low-rank noise, and normalises."""
    for i in range(rows.shape[0]):
        row, centre, basis = rows[i], centres[labels[i]], bases[labels[i] % bases.shape[0]]
        for k in range(row.shape[0]):
            row[k] += centre[k]
        for j in range(low.shape[1]):
            for k in range(row.shape[0]):
                row[k] += low[i, j] * basis[j, k]
        squares = np.float32(0)
        for k in range(row.shape[0]):
            squares += row[k] * row[k]
        scale = np.float32(1) / np.sqrt(squares)
        for k in range(row.shape[0]):
            row[k] *= scale


class Clusters:
    """The distribution, fixed by dimension, number of clusters and seed."""

    def __init__(self, dimension: int = DIMENSION, clusters: int = CLUSTERS, seed: int = 0) -> None:
        random = np.random.default_rng([seed, dimension, clusters])
        self.dimension = dimension
        self.name = f"synthetic clusters: {clusters} of intrinsic dimension {INTRINSIC} in {dimension}"
        self._seed = seed
        parents = _units(random.standard_normal((PARENTS, dimension), np.float32))
        offsets = _units(random.standard_normal((clusters, dimension), np.float32))
        self._centres = parents[random.integers(0, PARENTS, clusters)] + np.float32(CENTRE_SPREAD) * offsets
        self._bases = _units(random.standard_normal((BASES, INTRINSIC, dimension), np.float32))
        weights = np.arange(1, clusters + 1, dtype=np.float64) ** -POWER
        self._cumulated = np.cumsum(weights / weights.sum())

    def block(self, number: int) -> F32:
        """Rows [65,536, d] of unit length, from number * 65,536 on."""
        random = np.random.default_rng([self._seed, number])
        labels = np.searchsorted(self._cumulated, random.random(BLOCK_ROWS)).astype(np.int64)
        labels = np.minimum(labels, len(self._cumulated) - 1)
        low = random.standard_normal((BLOCK_ROWS, INTRINSIC), np.float32) * np.float32(LOW_RANK_NOISE / INTRINSIC**0.5)
        rows = random.standard_normal((BLOCK_ROWS, self.dimension), np.float32)
        rows *= np.float32(ISOTROPIC_NOISE / self.dimension**0.5)
        _place(rows, labels, self._centres, self._bases, low)
        return rows

    def blocks(self, start: int, stop: int) -> Iterator[tuple[I64, F32]]:
        """Ids and rows [start, stop), in order, in pieces of at most 65,536."""
        while start < stop:
            number, first = divmod(start, BLOCK_ROWS)
            rows = self.block(number)[first : first + stop - start]
            yield np.arange(start, start + len(rows), dtype=np.int64), rows
            start += len(rows)

    def queries(self, n: int) -> F32:
        """The first n rows, each a little off [n, d]; no more than 65,536."""
        noise = np.random.default_rng([self._seed, 2**32]).standard_normal((n, self.dimension), np.float32)
        return _units(self.block(0)[:n] + np.float32(QUERY_NOISE) * _units(noise))


def _units(rows: F32) -> F32:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


class Truth:
    """The k rows of highest cosine, exact, of those seen so far: by float32 products, block after block."""

    def __init__(self, queries: F32, k: int) -> None:
        self._queries = queries
        self._k = k
        self._scores = np.full((len(queries), k), -np.inf, np.float32)
        self.ids = np.full((len(queries), k), -1, np.int64)  # [B, k], best first

    def see(self, ids: I64, rows: F32) -> None:
        """More rows [n, d] of unit length."""
        products = self._queries @ rows.T
        bars = self._scores[:, -1:]
        for q in np.flatnonzero((products > bars).any(axis=1)):
            better = np.flatnonzero(products[q] > bars[q])
            if len(better) > self._k:
                better = better[np.argpartition(-products[q][better], self._k - 1)[: self._k]]
            scores = np.concatenate([self._scores[q], products[q][better]])
            order = np.argsort(-scores, kind="stable")[: self._k]
            self.ids[q] = np.concatenate([self.ids[q], ids[better]])[order]
            self._scores[q] = scores[order]

    def copy_ids(self) -> I64:
        """The neighbours up to here."""
        return self.ids.copy()


@dataclass(frozen=True)
class Neighbours:
    """True neighbours ids [B, k] of queries [B, d] among the first rows of a distribution."""

    queries: F32
    ids: I64

    def recall(self, found: I64) -> float:
        """Share of the true neighbours among found [B, at least k], the first k of each."""
        k = self.ids.shape[1]
        hits = sum(len(np.intersect1d(a, b[:k])) for a, b in zip(self.ids, found, strict=True))
        return hits / self.ids.size


def neighbours(clusters: Clusters, sizes: Sequence[int], queries: int, k: int) -> dict[int, Neighbours]:
    """True neighbours among the first n rows, for each n of `sizes`; kept under .cache/bench."""
    parts = [clusters.dimension, sizes[-1], queries, k, CENTRE_SPREAD, LOW_RANK_NOISE, ISOTROPIC_NOISE, QUERY_NOISE]
    path = CACHE / ("truth-" + "-".join(map(str, [*parts, *sizes[:-1]])) + ".npz")
    wanted = clusters.queries(queries)
    if not path.is_file():
        truth = Truth(wanted, k)
        found: dict[str, I64] = {}
        start = 0
        for n in sizes:
            for ids, rows in clusters.blocks(start, n):
                truth.see(ids, rows)
            found[str(n)] = truth.copy_ids()
            start = n
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_suffix(".part").open("wb") as file:
            np.savez(file, **found)
        path.with_suffix(".part").replace(path)
    with np.load(path) as kept:
        return {n: Neighbours(wanted, kept[str(n)]) for n in sizes}
