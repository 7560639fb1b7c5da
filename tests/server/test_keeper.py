"""The thread that keeps buckets: it gets everything done, and one collection's trouble is not another's."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from buckets_house import SMALL, Clusters, Truth, sizes
from house import House, upsert
from negmine_server import keeper, rebalance
from negmine_server.collection import Collection
from negmine_server.errors import StorageFull
from negmine_server.index.blocks import LOOSE
from negmine_server.keeper import Keeper


def full(house: House, name: str, rows: int = 1500) -> tuple[Collection, Truth]:
    house.bucket_options = SMALL
    collection, truth = house.create(name, dimension=24, bits=128), Truth()
    truth.put(collection, np.arange(rows), Clusters(20).draw(rows, 1))
    return collection, truth


def await_buckets(collection: Collection) -> None:
    """Waits until every row is in a bucket and no bucket is on its way out."""
    for _ in range(6000):
        partition = collection.engine.partition
        if partition is not None and LOOSE not in sizes(collection) and not partition.closing.any():
            return
        threading.Event().wait(0.005)
    raise AssertionError(sizes(collection))


def test_it_keeps_the_buckets_of_all_collections_under_upserts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebalance, "CHECK_S", 0.01)
    kept = [full(house, name) for name in ("a", "b")]
    thread = Keeper(house.catalog)
    thread.start()
    try:
        for number in range(10):
            for collection, truth in kept:
                truth.put(collection, np.arange(100 * number, 100 * number + 150), Clusters(20).draw(150, number))
                truth.check(collection, 1)
        for collection, truth in kept:
            await_buckets(collection)
            truth.check(collection)
    finally:
        thread.stop()
    thread.stop()


def test_trouble_in_one_collection_is_not_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rebalance, "SAVE_S", 0.0)
    first, _ = full(house, "a")
    second, truth = full(house, "b")
    house.objects.only, house.objects.failure = house.entry("a").record.partition_prefix, StorageFull("no room")
    thread = Keeper(house.catalog)
    thread.start()
    try:
        await_buckets(second)
    finally:
        thread.stop()
    truth.check(second)
    assert caplog.text.count("the buckets of a could not be kept") == 1
    assert first.engine.partition is not None
    monkeypatch.setattr(keeper, "TROUBLE_S", 0.01)
    house.objects.failure = None
    again = Keeper(house.catalog)
    again.start()
    try:
        await_buckets(first)
    finally:
        again.stop()


def test_collections_come_and_go_meanwhile(house: House, caplog: pytest.LogCaptureFixture) -> None:
    thread = Keeper(house.catalog)
    thread.start()
    try:
        for _ in range(3):
            collection, _ = full(house, "a", 700)
            threading.Event().wait(0.02)
            house.catalog.drop("a")
        collection, _ = full(house, "a", 700)
        await_buckets(collection)
        house.create("estimating", estimate_rows=100)  # has no buckets
        assert thread.round() in {(False, False), (True, False)}
    finally:
        thread.stop()
    assert "could not be kept" not in caplog.text


def test_it_stops_before_it_starts(house: House) -> None:
    Keeper(house.catalog).stop()


def test_many_loose_rows_are_behind(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebalance, "STEP_ROWS", 64)
    collection, _ = full(house, "a", 2000)
    thread = Keeper(house.catalog)
    rounds = [thread.round() for _ in range(3)]
    assert rounds[0] == (True, False)  # trained; not counted yet
    assert rounds[1] == (True, True)
    upsert(collection, [1], Clusters(1).draw(1, 0))
    while LOOSE in sizes(collection):
        thread.round()
    monkeypatch.setattr(rebalance, "CHECK_S", 0.0)
    thread.round()
    assert not collection.rebalancer.behind
