from __future__ import annotations

import threading
from collections import defaultdict
from concurrent.futures import Future
from pathlib import Path

import pytest
from negmine_server.errors import Fenced, Overloaded, StorageFailed, StorageFull
from negmine_server.storage.log import Log, LogGap
from negmine_server.storage.objects import Data, LocalObjects

WINDOW = 4


class GatedObjects(LocalObjects):
    """A real folder whose creates can be held back, or made to fail, by the last part of their key."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.gates: dict[int, threading.Event] = {}
        self.arrived: defaultdict[int, threading.Event] = defaultdict(threading.Event)  # at its gate
        self.created: defaultdict[int, threading.Event] = defaultdict(threading.Event)
        self.failures: dict[int, Exception] = {}

    def create(self, key: str, data: Data) -> None:
        slot = int(key.rpartition("/")[2])
        if slot in self.gates:
            self.arrived[slot].set()
            assert self.gates[slot].wait(30)
        if slot in self.failures:
            raise self.failures.pop(slot)
        super().create(key, data)
        self.created[slot].set()


@pytest.fixture
def objects(tmp_path: Path) -> GatedObjects:
    return GatedObjects(tmp_path)


def take_over(objects: LocalObjects, after: int = 0, window: int = WINDOW) -> tuple[Log, dict[int, list[bytes]]]:
    log, replayed = Log.take_over(objects, "s", after=after, window=window)
    return log, {record.sequence: [bytes(payload) for payload in record.payloads] for record in replayed}


def append(log: Log, *payloads: bytes) -> list[int]:
    return [log.submit([payload]).result() for payload in payloads]


def slots(objects: LocalObjects) -> list[int]:
    return [int(info.key[-20:]) for info in objects.list("s/log/")]


def test_what_is_appended_is_replayed(objects: GatedObjects) -> None:
    log, replayed = take_over(objects)
    assert (replayed, log.next_sequence, log.acked) == ({}, 5, 4)
    assert log.submit([b"a", b"", b"b"]).result() == 5
    assert append(log, b"c", b"d") == [6, 7]
    assert log.bytes_since(4) > log.bytes_since(5) > log.bytes_since(6) > log.bytes_since(7) == 0
    size = log.bytes_since(5)
    log.close()
    with pytest.raises(StorageFailed, match="closed"):
        log.submit([b"e"])
    log, replayed = take_over(objects, after=5)
    assert replayed == {6: [b"c"], 7: [b"d"]}
    assert log.bytes_since(5) == size
    assert append(log, b"e") == [12]
    assert take_over(objects)[1] == {5: [b"a", b"", b"b"], 6: [b"c"], 7: [b"d"], 12: [b"e"]}


def test_acknowledged_in_order_only_when_all_before_exist(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    objects.gates[5] = threading.Event()
    objects.gates[6] = threading.Event()
    order: list[int] = []
    futures: list[Future[int]] = []
    for payload in (b"5", b"6", b"7"):
        futures.append(log.submit([payload]))
        futures[-1].add_done_callback(lambda future: order.append(future.result()))
    objects.gates[6].set()
    with pytest.raises(TimeoutError):
        futures[1].result(timeout=0.05)
    assert (log.in_flight, log.acked, log.next_sequence) == (3, 4, 8)
    assert not futures[1].cancel(), "a record on its way cannot be called back"
    objects.gates[5].set()
    assert futures[2].result(timeout=30) == 7
    assert order == [5, 6, 7]
    assert log.in_flight == 0


def test_beyond_the_window_is_overloaded(objects: GatedObjects) -> None:
    log, _ = take_over(objects, window=2)
    objects.gates[3] = threading.Event()
    futures = [log.submit([b"x"]), log.submit([b"y"])]
    with pytest.raises(Overloaded, match="2 records in flight"):
        log.submit([b"z"])
    objects.gates[3].set()
    assert [future.result() for future in futures] == [3, 4]
    assert append(log, b"z") == [5]


def test_fsync_times_are_observed(objects: GatedObjects) -> None:
    seconds: list[float] = []
    log, _ = Log.take_over(objects, "s", after=0, observe_fsync=seconds.append)
    append(log, b"x", b"y")
    assert len(seconds) == 2
    assert min(seconds) > 0


@pytest.mark.parametrize("error", [StorageFull("no room"), StorageFailed("input/output error")])
def test_a_failed_create_fails_all_later_ones_until_the_next_takeover(objects: GatedObjects, error: Exception) -> None:
    log, _ = take_over(objects)
    objects.gates[5] = threading.Event()
    objects.gates[6] = threading.Event()
    objects.failures[6] = error
    futures = [log.submit([b"%d" % number]) for number in (5, 6, 7)]
    objects.gates[6].set()
    with pytest.raises(TimeoutError):  # the failure waits for the record before it
        futures[1].result(timeout=0.05)
    objects.gates[5].set()
    assert futures[0].result() == 5
    for future in futures[1:]:
        with pytest.raises(type(error)):
            future.result()
    with pytest.raises(type(error)):
        log.submit([b"8"])
    assert isinstance(log.error, type(error))
    log, replayed = take_over(objects, after=5)
    assert replayed == {}, "slot 6 is free: the fence stands there, and 7 was never acknowledged"
    assert append(log, b"later") == [10]
    assert take_over(objects)[1] == {5: [b"5"], 10: [b"later"]}


def test_a_doubtful_record_that_exists_is_replayed(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    create = LocalObjects.create

    class Doubtful(GatedObjects):
        def create(self, key: str, data: Data) -> None:
            create(self, key, data)
            raise StorageFailed(f"{key}: the folder cannot be synced")

    log._objects = Doubtful(objects._root)
    with pytest.raises(StorageFailed):
        append(log, b"doubtful")
    assert take_over(objects, after=4)[1] == {5: [b"doubtful"]}


def test_a_stale_owner_is_fenced_for_good(objects: GatedObjects) -> None:
    old, _ = take_over(objects)
    append(old, b"a")
    new, replayed = take_over(objects)
    assert replayed == {5: [b"a"]}
    for _ in range(2):
        with pytest.raises(Fenced):
            append(old, b"stale")
    assert append(new, b"b") == [10]
    assert take_over(objects)[1] == {5: [b"a"], 10: [b"b"]}


def test_creates_in_flight_at_a_takeover_are_refused_or_ignored(objects: GatedObjects) -> None:
    old, _ = take_over(objects)
    objects.gates[5] = threading.Event()
    objects.gates[7] = threading.Event()
    futures = [old.submit([b"%d" % number]) for number in (5, 6, 7)]
    assert objects.created[6].wait(30)
    stranger = LocalObjects(objects._root)
    new, replayed = take_over(stranger)
    assert replayed == {}
    assert slots(objects) == [1, 2, 3, 4, 5, 6, 7, 8]
    objects.gates[5].set()
    objects.gates[7].set()
    for future in futures:
        with pytest.raises(Fenced):
            future.result(timeout=30)
    assert append(new, b"b") == [9]
    assert take_over(stranger)[1] == {9: [b"b"]}


def test_a_later_takeover_fences_one_in_progress(objects: GatedObjects) -> None:
    take_over(objects)
    objects.gates[7] = threading.Event()
    failures: list[BaseException] = []

    def early() -> None:
        try:
            take_over(objects)  # stops before its third fence
        except Fenced as error:
            failures.append(error)

    thread = threading.Thread(target=early)
    thread.start()
    assert objects.arrived[7].wait(30)
    late, _ = take_over(LocalObjects(objects._root))
    objects.gates[7].set()
    thread.join()
    assert len(failures) == 1
    assert append(late, b"x") == [11]


def test_bytes_are_forgotten_by_a_trim(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a" * 100, b"b" * 200, b"c" * 300)
    rest = log.bytes_since(6)
    log.trim(6)
    assert log.bytes_since(0) == log.bytes_since(6) == rest


def test_a_stale_create_in_a_trimmed_slot_confuses_nobody(objects: GatedObjects) -> None:
    """A fence that a paused takeover puts into a slot that was used and trimmed meanwhile is no fence."""
    log, _ = take_over(objects)
    append(log, b"a")
    objects.gates[6] = threading.Event()
    failures: list[BaseException] = []

    def paused() -> None:
        try:
            take_over(objects, after=5)  # finds slot 6 free, and stops before it creates the fence there
        except LogGap as error:
            failures.append(error)

    thread = threading.Thread(target=paused)
    log._objects = LocalObjects(objects._root)
    thread.start()
    assert objects.arrived[6].wait(30)
    sequences = append(log, *[b"b"] * 12)
    log.trim(sequences[-2])
    objects.gates[6].set()
    thread.join()
    assert len(failures) == 1
    assert 6 in slots(objects)
    assert append(log, b"c") == [18], "the owner is still the owner"
    assert take_over(objects, after=16)[1] == {17: [b"b"], 18: [b"c"]}
