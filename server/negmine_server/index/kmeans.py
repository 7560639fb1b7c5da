"""Spherical k-means: centroids of unit length, nearest by dot product (Dhillon and Modha 2001)."""

from __future__ import annotations

import numpy as np

from negmine_server.domain import F32, I64

_BLOCK_ROWS = 8192


def spherical_kmeans(points: F32, k: int, seed: int, iterations: int = 10) -> F32:
    """Unit centroids [at most k, b] of points [n, b], n >= 1, none of length 0.

    There are fewer than k where points are fewer, or many are equal. Same input, same answer.
    """
    random = np.random.default_rng(seed)
    centroids = _unit(points[random.choice(points.shape[0], min(k, points.shape[0]), replace=False)])
    for _ in range(iterations):
        owners = nearest_of(points, centroids)
        order = np.argsort(owners, kind="stable")
        held, starts = np.unique(owners[order], return_index=True)
        empty = min(k, points.shape[0]) - held.shape[0]
        sums = np.add.reduceat(points[order], starts)
        nowhere = ~sums.any(axis=1)  # opposite points
        sums[nowhere] = points[order[starts[nowhere]]]
        centroids = _unit(sums)
        if empty:  # takes points that lie far from every centroid: of the largest clusters there are the most
            centroids = np.concatenate([centroids, _unit(points[random.choice(points.shape[0], empty, replace=False)])])
    return centroids[np.unique(nearest_of(points, centroids))]


def nearest_of(points: F32, centroids: F32) -> I64:
    """The centroid [n] with the highest dot product, the first of equal ones."""
    blocks = range(0, points.shape[0], _BLOCK_ROWS)
    return np.concatenate([(points[i : i + _BLOCK_ROWS] @ centroids.T).argmax(axis=1) for i in blocks])


def _unit(vectors: F32) -> F32:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-20)), np.float32)
