"""Fixing an estimated mean: exact before, the same state after, and nothing acked is lost on the way."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house import House, items, upsert
from live_wire import unit, vectors
from negmine.encoder import Codes, Encoder
from negmine_server import freeze
from negmine_server.catalog import State
from negmine_server.collection import Collection
from negmine_server.domain import Metric, VectorStore, Version
from negmine_server.errors import NegmineError, NotReady, Overloaded, StorageFull

ROWS = 60
SHIFTED = vectors(2 * ROWS, 8) + np.float32(0.7)


def estimating(house: House, **changes: Any) -> Collection:
    made = house.create(estimate_rows=ROWS, store=VectorStore.INT8, **changes)
    upsert(made, range(ROWS), SHIFTED[:ROWS], step=3, groups=np.arange(ROWS) % 5, writer="w", number=1)
    return made


def freeze_now(house: House, name: str = "c") -> Collection:
    freeze.freeze(house.entry(name), house.catalog, house.objects)
    served = house.entry(name).collection
    assert served is not None
    return served


def test_it_is_due_at_its_number_of_rows(house: House) -> None:
    made = house.create(estimate_rows=ROWS)
    assert (made.fingerprint, made.spec.kept_store) == ("", VectorStore.FLOAT32)
    upsert(made, range(ROWS - 1), SHIFTED[: ROWS - 1])
    assert not freeze.due(house.entry())
    freeze.freeze(house.entry(), house.catalog, house.objects)
    assert house.entry().collection is made  # too early: nothing happens
    with pytest.raises(NotReady, match="first 60 rows"):
        made.check_fingerprint("ab")
    upsert(made, [ROWS], SHIFTED[ROWS:][:1])
    assert freeze.due(house.entry())
    assert freeze_now(house) is not made
    assert not freeze.due(house.entry())


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("store", [VectorStore.NONE, VectorStore.INT8, VectorStore.FLOAT32])
def test_the_state_is_that_of_a_collection_with_this_mean_from_the_start(
    house: House, metric: Metric, store: VectorStore
) -> None:
    made = house.create(estimate_rows=ROWS, store=store, metric=metric)
    upsert(made, range(ROWS), SHIFTED[:ROWS], step=3, groups=np.arange(ROWS) % 5)
    frozen = freeze_now(house)
    compared = unit(SHIFTED[:ROWS]) if metric is Metric.COSINE else SHIFTED[:ROWS]
    np.testing.assert_allclose(frozen.encoder.mean, compared.mean(axis=0, dtype=np.float64), rtol=1e-5)
    assert frozen.spec.kept_store is store
    twin = house.create("twin", metric=metric, store=store, mean=frozen.encoder.mean)
    assert twin.fingerprint == frozen.fingerprint != ""
    upsert(twin, range(ROWS), SHIFTED[:ROWS], step=3, groups=np.arange(ROWS) % 5)
    ours, theirs = frozen.fetch(np.arange(ROWS)), twin.fetch(np.arange(ROWS))
    assert ours.columns.keys() == theirs.columns.keys()
    for name, column in theirs.columns.items():
        if name == "codes":  # a code made of the unit vector again may differ where a projection is all but zero
            assert (ours.columns[name] != column).mean() < 0.02
        else:
            np.testing.assert_allclose(ours.columns[name], column, rtol=1e-4, atol=1e-6)


def test_versions_tombstones_and_writers_survive(house: House) -> None:
    made = estimating(house)
    for sent in made.delete(np.array([0, 1]), None, 5):
        sent.outcome.result(30)
    upsert(made, [100, 101], SHIFTED[:2], step=4, writer="w", number=2)
    before = made.watermark
    house.catalog.start_generation("c", None)
    frozen = freeze_now(house)
    assert (frozen.watermark.incarnation, frozen.newest, frozen.generation) == (before.incarnation, Version(0, 5), 1)
    assert frozen.watermark.reached(before)
    for restarted in (False, True):
        if restarted:
            house.reopen()
        served = house.entry().collection
        assert served is not None
        assert (served.fingerprint, served.generation) == (frozen.fingerprint, 1)
        assert served.rows == ROWS
        assert upsert(served, [0], SHIFTED[:1], step=4, generation=0)[0].stale == 1
        assert all(done.duplicate for done in upsert(served, [100, 101], SHIFTED[:2], step=9, writer="w", number=2))
        assert set((served.fetch(np.arange(2, ROWS)).columns["versions"]).tolist()) == {Version(0, 3).pack()}


@pytest.mark.parametrize("before", [True, False])
def test_a_restart_takes_up_where_it_was(house: House, before: bool) -> None:
    estimating(house)
    if before:
        house.reopen()
        assert house.entry().record.spec.estimating
        assert freeze.due(house.entry())
    frozen = freeze_now(house)
    upsert(frozen, [500], SHIFTED[:1], step=4)
    fingerprint = frozen.fingerprint
    house.reopen()
    served = house.entry().collection
    assert served is not None
    assert (served.rows, served.fingerprint) == (ROWS + 1, fingerprint)
    assert not house.objects.list(f"collections/{served.incarnation}/estimating")


def test_writes_in_the_log_are_waited_for(house: House) -> None:
    made = estimating(house)
    house.objects.only, house.objects.held = "/log/", threading.Event()
    sent = made.upsert(items([500, 501, 502], SHIFTED[:3]))
    house.objects.arrived.acquire()
    freezing = threading.Thread(target=freeze_now, args=(house,))
    freezing.start()
    shut_out(made)
    house.objects.held.set()
    freezing.join()
    assert sum(part.outcome.result(30).inserted for part in sent) == 3
    served = house.entry().collection
    assert served is not None
    assert not served.spec.estimating
    assert served.fetch(np.array([500, 501, 502])).found.all()


class SlowEncoder(Encoder):
    """Encodes once it is let through."""

    def __init__(self) -> None:
        super().__init__(8, 64)
        self.arrived, self.go = threading.Event(), threading.Event()

    def encode_measured(self, embeddings: Any, lengths: Any) -> Codes:
        self.arrived.set()
        assert self.go.wait(30)
        return super().encode_measured(embeddings, lengths)


def test_writes_that_are_being_encoded_are_waited_for(house: House) -> None:
    made = estimating(house)
    slow = SlowEncoder()
    made.encode_items = slow.encode_measured
    acked: list[int] = []
    writing = threading.Thread(target=lambda: acked.extend(done.inserted for done in upsert(made, [500], SHIFTED[:1])))
    writing.start()
    assert slow.arrived.wait(30)
    freezing = threading.Thread(target=freeze_now, args=(house,))
    freezing.start()
    shut_out(made)
    slow.go.set()
    writing.join()
    freezing.join()
    assert acked == [1]
    served = house.entry().collection
    assert served is not None
    assert not served.spec.estimating
    assert served.fetch(np.array([500])).found.all()


def shut_out(collection: Collection) -> None:
    """Returns once writes are refused."""
    while True:
        try:
            collection.gate.write(list)
        except Overloaded:
            return


def test_every_acked_row_of_a_stream_across_the_freeze_is_there(house: House) -> None:
    made = house.create(estimate_rows=ROWS, shards=2)
    freezing = threading.Thread(target=freeze_now, args=(house,))
    acked: list[int] = []
    pending = []
    for number in range(200):
        served = house.entry().collection
        assert served is not None
        try:
            sent = served.upsert(items([2 * number, 2 * number + 1], SHIFTED[number % 60 :][:2]))
        except Overloaded:
            continue
        pending.append((number, sent))
        if number == 40:
            for _, parts in pending[:35]:
                [part.outcome.result(30) for part in parts]
            freezing.start()
    freezing.join()
    for number, parts in pending:
        assert all(part.outcome.result(30).inserted for part in parts)
        acked += [2 * number, 2 * number + 1]
    served = house.entry().collection
    assert served is not None
    assert served is not made
    assert served.fetch(np.array(acked)).found.all()
    assert served.rows == len(acked)


def test_a_write_that_holds_the_old_collection_is_asked_to_come_back(house: House) -> None:
    made = estimating(house)
    frozen = freeze_now(house)
    with pytest.raises(Overloaded):
        made.upsert(items([700], SHIFTED[:1]))
    with pytest.raises(Overloaded):
        made.delete(np.array([1]), None, None)
    assert upsert(frozen, [700], SHIFTED[:1])[0].inserted == 1


@pytest.mark.parametrize("place", ["/snapshot/", "catalog/", "shards/"])
def test_a_freeze_that_finds_no_room_leaves_it_as_it_was(house: House, place: str) -> None:
    made = estimating(house)
    threads = threading.active_count()
    house.objects.only, house.objects.failure = place, StorageFull("no room")
    with pytest.raises(StorageFull):
        freeze_now(house)
    assert house.entry().collection is made
    assert threading.active_count() <= threads + 1  # what was opened is closed
    house.objects.failure = None
    assert sum(done.inserted for done in upsert(made, [500], SHIFTED[:1])) == 1
    frozen = freeze_now(house)
    assert frozen.rows == ROWS + 1
    house.reopen()
    assert house.entry().state is State.SERVING


def test_a_collection_dropped_meanwhile_stays_dropped(house: House, tmp_path: Path) -> None:
    made = estimating(house)
    house.objects.only, house.objects.held = "shards/", threading.Event()
    entry, ended = house.entry(), []

    def run() -> None:
        with pytest.raises(NegmineError):
            freeze.freeze(entry, house.catalog, house.objects)
        ended.append(True)

    freezing = threading.Thread(target=run)
    freezing.start()
    house.objects.arrived.acquire()
    house.catalog.drop("c")
    house.objects.held.set()
    freezing.join()
    assert ended
    assert house.catalog.entries() == []
    house.reopen()
    assert house.catalog.entries() == []
    assert not house.objects.list(f"collections/{made.incarnation}/")
