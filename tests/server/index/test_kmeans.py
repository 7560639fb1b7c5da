"""Spherical k-means: unit centroids, the same ones each time, and the degenerate inputs."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.index.kmeans import nearest_of, spherical_kmeans


def clustered(n: int, k: int, d: int = 32, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    owners = np.arange(n) % k
    points = rng.standard_normal((k, d))[owners] + 0.1 * rng.standard_normal((n, d))
    return points.astype(np.float32), owners


def test_finds_separate_clusters() -> None:
    points, owners = clustered(600, 3)
    centroids = spherical_kmeans(points, 3, 1)
    assert centroids.shape == (3, 32)
    assert centroids.dtype == np.float32
    found = nearest_of(points, centroids)
    assert np.unique(np.stack([owners, found]), axis=1).shape[1] == 3  # one centroid for each cluster
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)


def test_same_input_same_answer() -> None:
    points, _ = clustered(500, 20)
    assert np.array_equal(spherical_kmeans(points, 40, 7), spherical_kmeans(points.copy(), 40, 7))
    assert not np.array_equal(spherical_kmeans(points, 10, 7), spherical_kmeans(points, 10, 8))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 8), (3, 8), (8, 8), (5, 1)])
def test_few_points(n: int, k: int) -> None:
    points = np.random.default_rng(0).standard_normal((n, 32)).astype(np.float32)
    centroids = spherical_kmeans(points, k, 0)
    assert 1 <= centroids.shape[0] <= min(n, k)
    assert np.isfinite(centroids).all()


def test_equal_points_have_one_centroid() -> None:
    points = np.ones((100, 32), np.float32)
    centroids = spherical_kmeans(points, 9, 0)
    assert np.allclose(centroids, [points[0] / np.sqrt(32)])
    two = spherical_kmeans(np.repeat(np.eye(2, 32, dtype=np.float32), 50, axis=0), 9, 0)
    assert two.shape[0] == 2


def test_every_centroid_is_the_nearest_of_some_point() -> None:
    points, _ = clustered(300, 5)
    centroids = spherical_kmeans(points, 64, 3)
    assert np.unique(nearest_of(points, centroids)).size == centroids.shape[0]


def test_opposite_points_do_not_make_a_centroid_of_length_zero() -> None:
    points = np.repeat(np.array([[1.0, 0], [-1, 0]], np.float32), 10, axis=0)
    for k in (1, 2, 3):
        centroids = spherical_kmeans(points, k, 0)
        assert np.isfinite(centroids).all()
        assert np.linalg.norm(centroids, axis=1).min() > 0.5


def test_the_first_of_equal_centroids_is_the_nearest() -> None:
    assert nearest_of(np.ones((3, 2), np.float32), np.ones((4, 2), np.float32)).tolist() == [0, 0, 0]
