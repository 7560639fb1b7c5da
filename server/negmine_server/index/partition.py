"""Buckets as cells around centroids in the space of codes: which bucket a row belongs to, which ones a query probes.

A code stands for the unit vector with coordinates ±1/√b in the encoder's rotated space, and a query for its own
coordinates there, so rows are routed by their codes alone: the same bucket whether a vector or a code came, at upsert,
at a move or after a restart. (Measured on WordNet at 256 bits: for the top 64 of the codes' own scan this scans 11 % of
the rows for a recall of 0.95, routing by vector 12 %.)

Centroids are rounded to integers small enough that every float32 dot product with a code or an int8 query is an exact
integer (partial sums stay below 2^24): the order of buckets does not depend on the batch, the machine or BLAS.

Routing is two-level: √K coarse cells first, then the centroids of the nearest few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Bool, Query, Scoring
from negmine_server.index.kmeans import nearest_of, spherical_kmeans
from negmine_server.index.native import compiled

CELLS_SEARCHED = 8  # coarse cells in which a row's bucket is looked for
FLAT_MAX = 128  # so few centroids are searched at once
_CELLS_GROWTH = 1.5  # of centroids before the coarse cells are made anew
_BLOCK_ROWS = 4096
_SMALLER_SHARE = 1 / 16  # of a bucket's rows that go to the smaller half of a split, at least


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Immutable; a change makes another one. K buckets, b bits."""

    centroids: F32  # [K, b] integers
    numbers: I64  # [K] of the buckets, ascending, never used again
    closing: Bool  # [K] no row is routed there any more; probed as long as it holds rows
    next_number: int
    cells: F32  # [C, b] coarse centroids
    cell_of: I64  # [K]
    cells_made_for: int  # K when the coarse cells were made

    def __len__(self) -> int:
        return len(self.numbers)

    def route(self, codes: U64) -> I64:
        """The bucket's number [n] of rows with codes [n, W]. At least one bucket is open."""
        blocks = range(0, codes.shape[0], _BLOCK_ROWS)
        parts = [self._route(signs(codes[first : first + _BLOCK_ROWS])) for first in blocks]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def nearest(self, points: F32, n: int) -> I64:
        """The numbers [B, min(n, K)] of the n nearest buckets to points [B, b] of whole numbers, nearest first."""
        nearest: I64 = self.numbers[_best(points @ self.centroids.T, min(n, len(self)))]
        return nearest

    def ranks(self, points: F32, buckets: I64) -> I64:
        """How many buckets are nearer to each point [B, b] than those named [B, R]; 0 for unknown ones."""
        places = np.searchsorted(self.numbers, buckets)
        places[places == len(self)] = 0
        known = self.numbers[places] == buckets
        order = _best(points @ self.centroids.T, len(self))
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(len(self))[None, :], axis=1)
        found: I64 = np.where(known, np.take_along_axis(ranks, places, axis=1), 0)
        return found

    def changed(self, *, add: F32 | None = None, close: Any = (), drop: Any = ()) -> Partition:
        """With more buckets around unit centroids `add` [m, b], with some (by number) closing, and without others."""
        centroids, numbers = self.centroids, self.numbers
        closing = self.closing | np.isin(numbers, close)
        next_number = self.next_number
        if add is not None:
            centroids = np.concatenate([centroids, _rounded(add)])
            numbers = np.concatenate([numbers, next_number + np.arange(add.shape[0])])
            closing = np.concatenate([closing, np.zeros(add.shape[0], np.bool_)])
            next_number += add.shape[0]
        kept = ~np.isin(numbers, drop)
        centroids, numbers, closing = centroids[kept], numbers[kept], closing[kept]
        if not self.cells_made_for / _CELLS_GROWTH < centroids.shape[0] < self.cells_made_for * _CELLS_GROWTH:
            return _with_cells(centroids, numbers, closing, next_number)
        cell_of = nearest_of(centroids, self.cells)
        return Partition(centroids, numbers, closing, next_number, self.cells, cell_of, self.cells_made_for)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What rebuilds it."""
        return {
            "centroids": self.centroids.astype(np.int16),
            "numbers": self.numbers,
            "closing": self.closing.astype(np.uint8),
            "next_number": np.array([self.next_number]),
            "cells": self.cells.astype(np.int16),
            "cells_made_for": np.array([self.cells_made_for]),
        }

    def _route(self, points: F32) -> I64:
        if len(self) <= FLAT_MAX:
            scores = points @ self.centroids.T
            scores[:, self.closing] = -np.inf
            nearest: I64 = self.numbers[scores.argmax(axis=1)]
            return nearest
        best = np.full(points.shape[0], -np.inf, np.float32)
        place = np.zeros(points.shape[0], np.int64)
        chosen = _best(points @ self.cells.T, min(CELLS_SEARCHED, self.cells.shape[0]))
        order = np.argsort(chosen, axis=None, kind="stable")
        rows = order // chosen.shape[1]
        ends = np.cumsum(np.bincount(chosen.reshape(-1), minlength=self.cells.shape[0]))
        for cell in range(self.cells.shape[0]):
            members = np.flatnonzero((self.cell_of == cell) & ~self.closing)
            some = rows[ends[cell - 1] if cell else 0 : ends[cell]]
            if some.size and members.size:
                scores = points[some] @ self.centroids[members].T
                top = scores.argmax(axis=1)
                reached = scores[np.arange(some.size), top]
                better = reached > best[some]
                best[some[better]] = reached[better]
                place[some[better]] = members[top[better]]
        lost = np.flatnonzero(np.isneginf(best))  # every centroid of its cells is closing
        if lost.size:
            scores = points[lost] @ self.centroids.T
            scores[:, self.closing] = -np.inf
            place[lost] = scores.argmax(axis=1)
        routed: I64 = self.numbers[place]
        return routed


def train(codes: U64, buckets: int, seed: int, first_number: int = 1) -> Partition:
    """A partition into at most `buckets` cells around centroids of a sample of codes [n, W], n >= 1."""
    centroids = _rounded(spherical_kmeans(signs(codes), buckets, seed))
    k = centroids.shape[0]
    return _with_cells(centroids, first_number + np.arange(k), np.zeros(k, np.bool_), first_number + k)


def split(codes: U64, seed: int, children: int = 2) -> F32 | None:
    """Unit centroids [2 to `children`, b] for codes [n, W] of one bucket; None where they cannot be told apart.

    Nor are a few outliers split from rows that are all alike: so small a bucket would be merged again.
    """
    if codes.shape[0] < 2:
        return None
    points = signs(codes)
    centroids = spherical_kmeans(points, children, seed)
    shares = np.bincount(nearest_of(points, _rounded(centroids)), minlength=len(centroids)) / len(points)
    centroids = centroids[shares >= _SMALLER_SHARE * 2 / children]
    return centroids if len(centroids) >= 2 else None


def restored(arrays: Mapping[str, NDArray[Any]]) -> Partition:
    """What `Partition.arrays` gave; it routes as before."""
    centroids, cells = arrays["centroids"].astype(np.float32), arrays["cells"].astype(np.float32)
    return Partition(
        centroids=centroids,
        numbers=arrays["numbers"].copy(),
        closing=arrays["closing"].astype(np.bool_),
        next_number=int(arrays["next_number"][0]),
        cells=cells,
        cell_of=nearest_of(centroids, cells),
        cells_made_for=int(arrays["cells_made_for"][0]),
    )


def points_of(query: Query) -> F32:
    """Anchors as points [B, b] of whole numbers, in the direction that their scan scores by."""
    if query.scoring is Scoring.SYMMETRIC or query.values is None:
        return signs(query.codes)
    return query.values.astype(np.float32)


def _with_cells(centroids: F32, numbers: I64, closing: Bool, next_number: int) -> Partition:
    k = centroids.shape[0]
    cells = _rounded(spherical_kmeans(centroids, int(np.ceil(np.sqrt(k))), 0, 5))
    return Partition(centroids, numbers, closing, next_number, cells, nearest_of(centroids, cells), k)


def _rounded(centroids: F32) -> F32:
    """Unit centroids [k, b] as whole numbers, so that a dot product with values up to ±127 is exact in float32."""
    bits = centroids.shape[1]
    longest = 2.0**24 / (128 * np.sqrt(bits))  # |dot| <= |values| |centroid| < 2^24
    scale = min(longest - np.sqrt(bits), 127 * np.sqrt(bits) / 4)
    return np.asarray(np.rint(centroids * scale), np.float32)


@compiled
def signs(codes: U64) -> F32:
    """codes [n, W] -> [n, 64·W] of +1 and -1; bit j of an item is bit j % 64 of word j // 64."""
    n, words = codes.shape
    points = np.empty((n, words * 64), np.float32)
    for i in range(n):
        for word in range(words):
            value = codes[i, word]
            for j in range(64):
                points[i, word * 64 + j] = np.float32(2 * np.int64((value >> np.uint64(j)) & np.uint64(1)) - 1)
    return points


def _best(scores: F32, n: int) -> I64:
    """The n highest of each row [B, K] as [B, n]: score descending, place ascending."""
    if 4 * n > scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return _highest(scores, n)


@compiled
def _highest(scores: F32, n: int) -> I64:
    """By insertion: of K scores in any order only about n · ln(K / n) come among the best so far."""
    rows, width = scores.shape
    best = np.empty((rows, n), np.int64)
    values = np.empty(n, np.float32)
    for row in range(rows):
        held = 0
        for place in range(width):
            score = scores[row, place]
            if held == n:
                if score <= values[n - 1]:
                    continue
            else:
                held += 1
            i = held - 1
            while i > 0 and values[i - 1] < score:
                values[i], best[row, i] = values[i - 1], best[row, i - 1]
                i -= 1
            values[i], best[row, i] = score, place
    return best
