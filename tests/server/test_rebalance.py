"""Buckets are trained, filled, split and merged while answers stay right."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from buckets_house import (
    BITS,
    DIMENSION,
    SMALL,
    Clusters,
    Truth,
    bucketed,
    probing_recall,
    query_of,
    settle,
    sizes,
)
from house import House, upsert
from negmine_server import rebalance
from negmine_server.index.blocks import LOOSE
from negmine_server.rebalance import MERGE_AT, SPLIT_AT, BucketOptions
from negmine_server.telemetry import CatalogMetrics

NEVER = 1e9


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are looked at in every step, steps are small, and nothing is stored but at the end."""
    monkeypatch.setattr(rebalance, "CHECK_S", 0.0)
    monkeypatch.setattr(rebalance, "STEP_ROWS", 128)
    monkeypatch.setattr(rebalance, "SAVE_S", NEVER)


def test_too_few_rows_stay_loose_and_a_few_more_get_buckets(house: House) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(10)
    assert settle(collection) == 0
    truth.put(collection, np.arange(499), clusters.draw(499, 1))
    assert settle(collection) == 0
    assert collection.engine.partition is None
    assert not collection.rebalancer.behind
    truth.put(collection, [499], clusters.draw(1, 2))
    settle(collection)
    assert LOOSE not in sizes(collection)
    assert len(collection.engine.partition) == 500 // 64
    truth.check(collection)


def test_a_collection_emptied_before_its_training_is_left_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    collection, truth = bucketed(house, BucketOptions(1, 1)), Truth()
    engine = collection.engine
    truth.put(collection, [1, 2], Clusters(2).draw(2, 0))
    counted = engine.bucket_rows()
    truth.delete(collection, [1, 2])
    monkeypatch.setattr(engine, "bucket_rows", lambda: counted)  # as counted before the delete
    assert not collection.rebalancer.step()
    assert engine.partition is None


def test_one_row_is_one_bucket(house: House) -> None:
    collection, truth = bucketed(house, BucketOptions(1, 1)), Truth()
    truth.put(collection, [7], Clusters(1).draw(1, 0))
    settle(collection)
    assert list(sizes(collection).values()) == [1]
    truth.delete(collection, [7])
    settle(collection)
    truth.put(collection, [8], Clusters(1).draw(1, 1))
    settle(collection)
    truth.check(collection, 1)


def test_equal_vectors_are_one_indivisible_bucket(house: House) -> None:
    collection, truth = bucketed(house), Truth()
    vector = Clusters(1).draw(1, 0)
    truth.put(collection, np.arange(1500), np.repeat(vector, 1500, axis=0))
    settle(collection)
    assert list(sizes(collection).values()) == [1500]
    truth.check(collection, 2)
    assert settle(collection) == 0


def test_a_few_others_among_equal_vectors_do_not_keep_it_busy(house: House) -> None:
    collection, truth = bucketed(house, BucketOptions(500, 256)), Truth()
    alike = np.repeat(Clusters(1).draw(1, 0), 3000, axis=0)
    truth.put(collection, np.arange(1000), alike[:1000])
    settle(collection)
    truth.put(collection, np.arange(1000, 3000), alike[1000:])
    truth.put(collection, np.arange(3000, 3012), np.random.default_rng(0).standard_normal((12, DIMENSION), np.float32))
    assert settle(collection) < 60  # a bucket of the twelve would be merged again, and split off again
    truth.check(collection)
    assert settle(collection) == 0


def test_growth_by_splits_keeps_sizes_in_bounds_and_recall(house: House) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(60)
    for number in range(16):
        truth.put(collection, np.arange(number * 500, number * 500 + 500), clusters.draw(500, number))
        settle(collection)
    grown = sizes(collection)
    aim = SMALL.aim(8000)
    assert LOOSE not in grown
    assert max(grown.values()) <= SPLIT_AT * aim
    assert min(grown.values()) >= MERGE_AT * aim
    assert max(grown.values()) <= 4 * np.mean(list(grown.values()))
    assert not collection.engine.partition.closing.any()
    truth.check(collection)
    anchors = clusters.draw(200, 99)
    share = 0.1
    after_growth = probing_recall(collection, anchors, int(share * len(collection.engine.partition)))
    fresh = bucketed_at_once(house, truth)
    trained = probing_recall(fresh, anchors, int(share * len(fresh.engine.partition)))
    assert after_growth > trained - 0.03, (after_growth, trained)


def bucketed_at_once(house: House, truth: Truth) -> object:
    fresh = house.create("fresh", dimension=DIMENSION, bits=BITS, shards=2)
    ids = np.array(sorted(truth.embeddings))
    upsert(fresh, ids, np.stack([truth.embeddings[item] for item in ids.tolist()]))
    settle(fresh)
    return fresh


def test_drift_is_followed(house: House) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(120)
    for number in range(8):  # each time the same ids move to the next clusters
        active = slice(number * 15, number * 15 + 15)
        for first in range(0, 2400, 800):
            truth.put(collection, np.arange(first, first + 800), clusters.draw(800, number * 10 + first, active))
            settle(collection)
    truth.check(collection)
    now = sizes(collection)
    assert max(now.values()) <= SPLIT_AT * SMALL.aim(2400)
    assert len(collection.engine.partition) < 3 * 2400 // SMALL.aim(2400)
    assert probing_recall(collection, clusters.draw(200, 999, active), max(1, len(now) // 8)) > 0.7


def test_buckets_merge_as_rows_go(house: House) -> None:
    collection, truth = bucketed(house), Truth()
    truth.put(collection, np.arange(4000), Clusters(40).draw(4000, 1))
    settle(collection)
    before = len(collection.engine.partition)
    truth.delete(collection, np.arange(200, 4000))
    settle(collection)
    assert len(collection.engine.partition) < before
    truth.check(collection)
    truth.delete(collection, np.arange(200))
    settle(collection)
    assert len(collection.engine.partition) == 1
    truth.check(collection)


def test_neighbours_are_reassigned_while_rows_trickle_in(house: House) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(30)
    truth.put(collection, np.arange(1200), clusters.draw(1200, 1))
    settle(collection)
    next_id = 1200
    while not collection.rebalancer._to_reassign:
        truth.put(collection, np.arange(next_id, next_id + 100), clusters.draw(100, next_id, slice(0, 3)))
        next_id += 100
        collection.rebalancer.step()
    for _ in range(400):  # each step finds a loose row
        truth.put(collection, [next_id], clusters.draw(1, next_id))
        next_id += 1
        collection.rebalancer.step()
        if not collection.rebalancer._to_reassign:
            break
    else:
        raise AssertionError("loose rows always went first")
    truth.check(collection)


def test_exact_answers_and_counts_stand_still_while_rows_move(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(30)
    ids = np.arange(3000)
    truth.put(collection, ids, clusters.draw(3000, 1))
    engine, telemetry = collection.engine, CatalogMetrics(house.catalog)
    query = query_of(collection.encoder, clusters.draw(16, 2))
    expected = engine.search(query, 30, rescore=False)
    stop, failures, reads = threading.Event(), [], [0, 0]

    def read(reader: int) -> None:
        while not stop.is_set() or reads[reader] < 3:
            try:
                found = engine.search(query, 30, rescore=False)
                assert np.array_equal(found.ids, expected.ids)
                assert sum(engine.bucket_rows().values()) == 3000
                assert sum(shard.rows.rows for shard in engine.stats()) == 3000
                assert (engine.bucket_of(ids) >= 0).all()
                assert all((shard >= 0).all() for shard in engine.bucket_sizes())
                assert {family.name for family in telemetry.collect()} >= {"negmine_bucket_rows", "negmine_loose_rows"}
            except Exception as error:  # noqa: BLE001 (checked below)
                failures.append(error)
                return
            reads[reader] += 1

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(2)]
    for reader in readers:
        reader.start()
    settle(collection)
    monkeypatch.setattr(rebalance, "SPLIT_AT", 1.2)
    settle(collection)
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures, failures
    assert max(sizes(collection).values()) <= 1.2 * SMALL.aim(3000)
    truth.check(collection)
