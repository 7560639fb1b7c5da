"""Buckets after kills at any step, with a damaged or missing partition, on a full disk, and at the end."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import numpy as np
import pytest
from buckets_house import (
    Clusters,
    Truth,
    bucketed,
    crashed,
    settle,
    sizes,
)
from house import House
from negmine_server import rebalance
from negmine_server.errors import StorageFull
from negmine_server.index.blocks import LOOSE

NEVER = 1e9


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are looked at in every step, steps are small, and nothing is stored but at the end."""
    monkeypatch.setattr(rebalance, "CHECK_S", 0.0)
    monkeypatch.setattr(rebalance, "STEP_ROWS", 128)
    monkeypatch.setattr(rebalance, "SAVE_S", NEVER)


@pytest.mark.parametrize("kind", ["split", "merge"])
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "not stored"])
def test_killed_at_any_step(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stored: bool
) -> None:
    collection, truth, clusters = bucketed(house, shards=1), Truth(), Clusters(12)
    truth.put(collection, np.arange(900), clusters.draw(900, 1))
    settle(collection)
    monkeypatch.setattr(rebalance, "SAVE_S", 0.0)
    collection.rebalancer.step()
    collection.engine.snapshot()
    if kind == "split":
        truth.put(collection, np.arange(900, 1500), clusters.draw(600, 2, slice(0, 1)))
    else:
        smallest = min(sizes(collection), key=sizes(collection).get)
        there = np.array(sorted(truth.embeddings))
        gone = there[collection.engine.bucket_of(there) == smallest]
        truth.delete(collection, gone[: len(gone) - 2])
    monkeypatch.setattr(rebalance, "SAVE_S", 0.0 if stored else NEVER)
    began = closed = 0
    for step in range(100):
        collection.rebalancer.step()
        closing = bool(collection.engine.partition.closing.any())
        began += closing
        if not began:
            continue
        truth.put(collection, [5000 + step], clusters.draw(1, step))  # so that there is something to take a snapshot of
        if step % 2:
            collection.engine.snapshot()
        after = crashed(house, tmp_path / f"{step}")
        try:
            reopened = after.entry().collection
            closed += bool(reopened.engine.partition.closing.any())
            truth.check(reopened, 2)
            settle(reopened)
            assert LOOSE not in sizes(reopened)
            assert not reopened.engine.partition.closing.any()
            truth.check(reopened, 2)
        finally:
            after.close()
        if not closing:
            break
    assert began
    assert closed == (began if stored else 0)


def test_numbers_are_not_used_again_after_a_kill(house: House, tmp_path: Path) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(30)
    truth.put(collection, np.arange(900), clusters.draw(900, 1))
    settle(collection)
    collection.engine.snapshot()  # rows are stored with their buckets' numbers, the partition is not
    first = crashed(house, tmp_path / "first")
    second = None
    try:
        reopened = first.entry().collection
        assert reopened.engine.partition is None
        truth.put(reopened, np.arange(900, 1800), clusters.draw(900, 2))
        settle(reopened)
        reopened.rebalancer.close()  # the partition is stored, the rows are as before
        second = crashed(first, tmp_path / "second")
        last = second.entry().collection
        ids = np.array(sorted(truth.embeddings))
        buckets = last.engine.bucket_of(ids)
        routed = last.engine.partition.route(last.engine.fetch(ids)[1]["codes"])
        assert ((buckets == routed) | (buckets == LOOSE)).all()
        truth.check(last)
    finally:
        first.close()
        if second is not None:
            second.close()


def test_new_numbers_begin_beyond_those_of_stored_rows(house: House, tmp_path: Path) -> None:
    collection, truth, clusters = bucketed(house), Truth(), Clusters(30)
    truth.put(collection, np.arange(900), clusters.draw(900, 1))
    settle(collection)
    collection.rebalancer._save()
    truth.put(collection, np.arange(900, 2700), clusters.draw(1800, 2))
    settle(collection)
    highest = max(sizes(collection))
    collection.engine.snapshot()
    after = crashed(house, tmp_path / "after")
    try:
        reopened = after.entry().collection
        assert reopened.engine.partition.numbers.max() < highest < reopened.engine.partition.next_number
        assert sizes(reopened)[LOOSE]
        settle(reopened)
        truth.check(reopened)
    finally:
        after.close()


def stored_partition(house: House) -> Path:
    (path,) = (house.folder / house.entry().record.partition_prefix).iterdir()
    return path


def test_a_restart_finds_the_buckets_as_they_were(house: House) -> None:
    collection, truth = bucketed(house), Truth()
    truth.put(collection, np.arange(1500), Clusters(30).draw(1500, 1))
    settle(collection)
    collection.engine.snapshot()
    before, rows = collection.engine.partition.arrays(), sizes(collection)
    house.reopen()
    collection = house.entry().collection
    after = collection.engine.partition.arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert sizes(collection) == rows
    assert settle(collection) == 0
    house.reopen()
    assert stored_partition(house).name == f"{0:020d}"  # nothing has changed, so nothing was written


@pytest.mark.parametrize("damage", ["flipped", "truncated", "empty", "gone"])
def test_a_damaged_partition_is_trained_anew(house: House, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    collection, truth = bucketed(house), Truth()
    truth.put(collection, np.arange(1000), Clusters(30).draw(1000, 1))
    settle(collection)
    collection.engine.snapshot()
    highest = max(sizes(collection))
    collection.close()
    path = stored_partition(house)
    content = bytearray(path.read_bytes())
    path.unlink()
    content[len(content) // 2] ^= 4
    if damage != "gone":
        path.write_bytes({"flipped": content, "truncated": content[:100], "empty": b""}[damage])
    house.reopen()
    collection = house.entry().collection
    assert ("trained anew" in caplog.text) == (damage != "gone")
    assert collection.engine.partition is None
    assert sizes(collection) == {LOOSE: 1000}
    truth.check(collection)
    settle(collection)
    assert min(sizes(collection)) > highest
    truth.check(collection)


def test_a_full_disk_delays_storing_and_nothing_else(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    collection, truth = bucketed(house), Truth()
    truth.put(collection, np.arange(1000), Clusters(30).draw(1000, 1))
    monkeypatch.setattr(rebalance, "SAVE_S", 0.0)
    house.objects.only, house.objects.failure = "partition", StorageFull("no room")
    failures = 0
    for _ in range(100):
        try:
            if not collection.rebalancer.step() and LOOSE not in sizes(collection):
                break
        except StorageFull:
            failures += 1
    assert failures
    assert LOOSE not in sizes(collection)
    truth.check(collection)
    house.objects.failure = None
    collection.rebalancer.step()
    assert stored_partition(house).stat().st_size


def test_a_full_disk_at_the_end_is_said(house: House, caplog: pytest.LogCaptureFixture) -> None:
    collection, truth = bucketed(house), Truth()
    truth.put(collection, np.arange(1000), Clusters(30).draw(1000, 1))
    settle(collection)
    house.objects.only, house.objects.failure = "partition", StorageFull("no room")
    with caplog.at_level(logging.WARNING):
        house.reopen()
    assert "could not be stored: no room" in caplog.text
    truth.check(house.entry().collection)


@pytest.mark.parametrize("how", ["close", "drop"])
def test_it_ends_while_steps_are_under_way(house: House, how: str) -> None:
    collection, truth = bucketed(house), Truth()
    truth.put(collection, np.arange(3000), Clusters(30).draw(3000, 1))
    folder = house.entry().record.folder
    under_way, failures = threading.Event(), []

    def work() -> None:
        try:
            while collection.rebalancer.step():
                under_way.set()
        except Exception as error:  # noqa: BLE001 (checked below)
            failures.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    assert under_way.wait(30)
    if how == "close":
        collection.close()
    else:
        house.catalog.drop("c")
    worker.join(30)
    assert not worker.is_alive()
    assert not failures
    assert not collection.rebalancer.step()
    if how == "drop":
        assert not list((house.folder / folder).rglob("*"))
