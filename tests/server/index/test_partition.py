"""Which bucket a row belongs to and which a query probes: exactly, alone as in any batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.index import partition as partitions
from negmine_server.index.partition import Partition, restored, signs, split, train
from negmine_server.scan.reference import unpack_signs


def clustered(n: int, clusters: int, bits: int = 128, seed: int = 0, flips: float = 0.15) -> np.ndarray:
    """Codes [n, W] around random ones."""
    rng = np.random.default_rng(seed)
    bases = np.random.default_rng(99).random((clusters, bits)) < 0.5
    chosen = bases[rng.integers(0, clusters, n)] ^ (rng.random((n, bits)) < flips)
    return np.packbits(chosen, axis=1, bitorder="little").view(np.uint64)


def nearest_flat(partition: Partition, points: np.ndarray, *, open_only: bool) -> np.ndarray:
    """All numbers [B, K], nearest first, in whole numbers."""
    scores = points.astype(np.int64) @ partition.centroids.astype(np.int64).T
    if open_only:
        scores[:, partition.closing] = -(2**60)
    return partition.numbers[np.argsort(-scores, axis=1, kind="stable")]


def test_signs_are_the_bits() -> None:
    codes = np.random.default_rng(0).integers(0, 2**64, (70, 3), dtype=np.uint64)
    assert np.array_equal(signs(codes), unpack_signs(codes))
    assert signs(codes[:0]).shape == (0, 192)


@pytest.mark.parametrize("bits", [64, 256, 1024, 4096])
def test_products_are_exact_at_the_extremes(bits: int) -> None:
    rng = np.random.default_rng(bits)
    codes = clustered(300, 20, bits)
    partition = train(codes, 40, 0)
    assert np.array_equal(partition.centroids, np.rint(partition.centroids))
    worst = np.sign(partition.centroids)  # the largest sums that there are
    spiked = partitions._rounded(np.eye(3, bits, dtype=np.float32))
    flat = partitions._rounded(np.full((1, bits), 1 / np.sqrt(bits), np.float32))
    for centroids in (partition.centroids, spiked, flat):
        for points in (
            127 * worst,
            -128 * worst,
            np.full((2, bits), -128.0),
            rng.integers(-128, 128, (50, bits)),
        ):
            assert np.abs(points).astype(np.int64).max() * np.abs(centroids).astype(np.int64).sum(axis=1).max() <= 2**24
            products = points.astype(np.float32) @ centroids.T
            assert np.array_equal(products.astype(np.int64), points.astype(np.int64) @ centroids.astype(np.int64).T)
    assert np.abs(spiked).max() < 2**15  # fits the type that it is stored in


@pytest.mark.parametrize("buckets", [1, 30, 300])
def test_alone_as_in_any_batch(buckets: int) -> None:
    codes = clustered(3000, 200)
    partition = train(codes[:2000], buckets, 0)
    routed = partition.route(codes)
    for first in range(0, 3000, 301):
        assert partition.route(codes[first : first + 1]).tolist() == [routed[first]]
    assert np.array_equal(np.concatenate([partition.route(part) for part in np.array_split(codes, 17)]), routed)
    points = np.random.default_rng(0).integers(-128, 128, (64, 128)).astype(np.float32)
    for n in (1, 3, len(partition) // 3, len(partition), len(partition) + 5):
        if n:
            together = partition.nearest(points, n)
            assert np.array_equal(together, nearest_flat(partition, points, open_only=False)[:, :n])
            assert np.array_equal(np.concatenate([partition.nearest(point[None], n) for point in points]), together)
    assert partition.route(codes[:0]).shape == (0,)
    assert partition.nearest(points[:0], 3).shape == (0, min(3, len(partition)))


def test_a_few_buckets_are_routed_to_flat() -> None:
    codes = clustered(1000, 50)
    partition = train(codes, 60, 0)
    assert np.array_equal(partition.route(codes), nearest_flat(partition, signs(codes), open_only=True)[:, 0])


def test_two_levels_lose_little_against_one() -> None:
    codes = clustered(12_000, 300)
    partition = train(codes[:8000], 300, 0)
    assert len(partition) > 128
    best = nearest_flat(partition, signs(codes), open_only=True)[:, 0]
    same = (partition.route(codes) == best).mean()
    assert same > 0.96, same


def test_ties_go_to_the_lowest_number_at_both_ways_of_choosing() -> None:
    partition = train(clustered(500, 40), 40, 0)
    same = replace(
        partition, centroids=np.repeat(partition.centroids[:4], len(partition) // 4 + 1, axis=0)[: len(partition)]
    )
    points = np.random.default_rng(0).integers(-128, 128, (20, 128)).astype(np.float32)
    for n in (1, 2, 5, 20, 40):
        assert np.array_equal(same.nearest(points, n), nearest_flat(same, points, open_only=False)[:, :n])


def test_ranks_count_nearer_buckets() -> None:
    partition = train(clustered(500, 40), 30, 0)
    points = signs(clustered(9, 40, seed=1))
    order = nearest_flat(partition, points, open_only=False)
    asked = np.concatenate([order[:, ::-1], np.full((9, 3), [0, -1, 10**9])], axis=1)
    ranks = partition.ranks(points, asked)
    assert np.array_equal(ranks, np.tile([*range(len(partition))[::-1], 0, 0, 0], (9, 1)))


def test_a_closing_bucket_gets_no_rows_and_is_still_probed() -> None:
    codes = clustered(2000, 300)
    for buckets in (50, 250):
        partition = train(codes, buckets, 0)
        closing = np.unique(partition.route(codes))[::2]
        changed = partition.changed(close=closing)
        assert not np.isin(changed.route(codes), closing).any()
        assert np.array_equal(changed.nearest(signs(codes[:50]), 5), partition.nearest(signs(codes[:50]), 5))
        assert not partition.closing.any()
        only = partition.changed(close=partition.numbers[1:])
        assert (only.route(codes) == partition.numbers[0]).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["split", "close", "drop"]), st.integers(0, 2**20)), max_size=40))
def test_any_changes_keep_it_whole(changes: list) -> None:
    codes = clustered(600, 60, 64)
    partition = train(codes, 12, 0, 100)
    assert partition.numbers.tolist() == list(range(100, 100 + len(partition)))
    used = set(partition.numbers.tolist())
    for kind, pick in changes:
        number = int(partition.numbers[pick % len(partition)])
        if kind == "split":
            halves = split(clustered(50, 60, 64, pick), pick)
            if halves is None:
                continue
            partition = partition.changed(add=halves, close=[number])
            assert not used & set(partition.numbers[-2:].tolist())
            used |= set(partition.numbers.tolist())
        elif kind == "close" and (~partition.closing).sum() > 1:
            partition = partition.changed(close=[number])
        elif kind == "drop" and partition.closing.any():
            partition = partition.changed(drop=partition.numbers[partition.closing][:1])
        if partition.closing.all():
            partition = partition.changed(add=split(codes, 0))
            used |= set(partition.numbers.tolist())
        assert (np.diff(partition.numbers) > 0).all()
        assert partition.next_number > partition.numbers[-1]
        assert len(partition.numbers) == len(partition.closing) == len(partition.cell_of) == len(partition.centroids)
        assert partition.cell_of.max() < len(partition.cells)
        assert not np.isin(partition.route(codes), partition.numbers[partition.closing]).any()


def test_many_buckets_change_and_route_as_before() -> None:
    codes = clustered(2000, 300)
    partition = train(codes, 200, 0)
    for first in range(0, 120, 20):  # the coarse cells are made anew on the way
        routed = partition.route(codes)
        gone = partition.numbers[first : first + 20]
        halves = [split(codes[routed == number], 0) for number in gone.tolist()]
        partition = partition.changed(add=np.concatenate([half for half in halves if half is not None]), drop=gone)
    assert partition.cells_made_for != 200
    best = nearest_flat(partition, signs(codes), open_only=True)[:, 0]
    assert (partition.route(codes) == best).mean() > 0.95


def test_what_is_stored_rebuilds_it() -> None:
    codes = clustered(1000, 300)
    for buckets in (1, 20, 200):
        partition = train(codes, buckets, 0, 7)
        partition = partition.changed(add=split(codes, 0), close=partition.numbers[:1])
        again = restored(partition.arrays())
        assert all(np.array_equal(partition.arrays()[name], array) for name, array in again.arrays().items())
        assert again.centroids.dtype == np.float32
        points = signs(codes[:50])
        assert np.array_equal(again.nearest(points, 9), partition.nearest(points, 9))
        assert np.array_equal(again.route(codes), partition.route(codes))
        changed = (each.changed(add=split(codes[:500], 1), close=each.numbers[1:2]) for each in (again, partition))
        assert np.array_equal(*(each.route(codes) for each in changed))


def test_training_from_little() -> None:
    one = train(clustered(1, 1), 50, 0)
    assert len(one) == 1
    assert one.nearest(signs(clustered(3, 1)), 9).tolist() == [[1]] * 3
    alike = train(np.repeat(clustered(1, 1), 100, axis=0), 50, 0)
    assert len(alike) == 1
    assert alike.route(clustered(10, 3)).tolist() == [1] * 10


def test_what_cannot_be_split() -> None:
    codes = clustered(1000, 2, flips=0)
    alike, other = codes[codes[:, 0] == codes[0, 0]], codes[codes[:, 0] != codes[0, 0]]
    assert split(codes[:0], 0) is None
    assert split(codes[:1], 0) is None
    assert split(alike, 0) is None
    assert split(np.concatenate([alike[:400], other[:10]]), 0) is None  # the ten would be merged again
    halves = split(np.concatenate([alike[:300], other[:200]]), 0)
    assert halves is not None
    assert np.array_equal(np.sort((halves @ signs(codes[:1]).T > 11).sum(axis=0)), [1])


def test_a_split_tells_two_clusters_apart() -> None:
    codes = clustered(1000, 2)
    partition = train(codes, 1, 0).changed(add=split(codes, 0), close=[1])
    routed = partition.route(codes)
    bases = clustered(2, 2, flips=0, seed=4)
    assert set(routed.tolist()) == {2, 3}
    owners = np.bitwise_count(codes ^ bases[0]).sum(axis=1) < 40
    agreement = (owners == (routed == 2)).mean()
    assert max(agreement, 1 - agreement) > 0.99
