from __future__ import annotations

import logging
import threading
from collections import defaultdict
from concurrent.futures import Future
from pathlib import Path

import pytest
from negmine_server.errors import DataLoss, Fenced, NotReady, Overloaded, StorageFailed, StorageFull
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


def slot_path(objects: LocalObjects, sequence: int) -> Path:
    return objects._root / f"s/log/{sequence:020d}"


def overwrite(objects: LocalObjects, sequence: int, data: bytes) -> None:
    slot_path(objects, sequence).write_bytes(data)


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


def test_the_window_of_an_earlier_owner_is_respected(objects: GatedObjects) -> None:
    take_over(objects, window=8)
    log, _ = take_over(objects, window=1)
    assert log.next_sequence == 17


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


@pytest.mark.parametrize("damage", [b"", b"NG", None, "flip"])
def test_a_torn_tail_is_dropped_reported_and_forgiven_later(
    objects: GatedObjects, caplog: pytest.LogCaptureFixture, damage: bytes | str | None
) -> None:
    log, _ = take_over(objects)
    append(log, b"good", b"torn" * 9, b"torn" * 9)
    for sequence in (6, 7):
        data = bytearray(objects.get(f"s/log/{sequence:020d}"))
        data[-1] ^= 1
        overwrite(objects, sequence, bytes(data if damage == "flip" else data[:-7] if damage is None else damage))
    with caplog.at_level(logging.WARNING):
        log, replayed = take_over(objects)
    assert replayed == {5: [b"good"]}
    assert log.dropped == (6, 7)
    assert "[6, 7]" in caplog.text
    assert append(log, b"next") == [12]
    log, replayed = take_over(objects)
    assert (replayed, log.dropped) == ({5: [b"good"], 12: [b"next"]}, ())
    overwrite(objects, 12, b"")
    append(log, b"after")
    with pytest.raises(DataLoss, match="0012"):
        take_over(objects)


def test_a_corrupt_middle_is_data_loss_and_changes_nothing(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a", b"b", b"c")
    good = objects.get(f"s/log/{6:020d}")
    overwrite(objects, 6, good[:-1] + b"\xff")
    before = slots(objects)
    for _ in range(2):
        with pytest.raises(DataLoss, match=f"s/log/{6:020d}"):
            take_over(objects)
    assert slots(objects) == before
    assert take_over(objects, after=6)[1] == {7: [b"c"]}, "the state given holds it"


def test_a_damaged_fence_loses_nothing(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a")
    log, _ = take_over(objects)
    append(log, b"b")
    overwrite(objects, 6, b"")
    overwrite(objects, 8, b"junk" * 100)
    assert take_over(objects)[1] == {5: [b"a"], 10: [b"b"]}


def test_a_missing_record_is_a_gap(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, *[b"x"] * 8)
    slot_path(objects, 6).unlink()
    with pytest.raises(LogGap, match=f"s/log/{6:020d} is missing"):
        take_over(objects)
    with pytest.raises(LogGap):
        take_over(LocalObjects(objects._root / "elsewhere"), after=3)


def test_a_log_without_its_first_fence_is_data_loss(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a")
    for sequence in (1, 2, 3, 4):
        slot_path(objects, sequence).unlink()
    with pytest.raises(DataLoss):
        take_over(objects)


def test_a_record_under_the_wrong_name_is_data_loss(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a", b"b", b"c")
    overwrite(objects, 6, objects.get(f"s/log/{7:020d}"))
    with pytest.raises(DataLoss, match="holds DATA 7"):
        take_over(objects)


def test_a_newer_format_is_refused_and_nothing_is_written(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a")
    data = bytearray(objects.get(f"s/log/{5:020d}"))
    data[4] = 9
    overwrite(objects, 5, bytes(data))
    with pytest.raises(NotReady, match="format version 9"):
        take_over(objects)
    assert slots(objects) == [1, 2, 3, 4, 5]


def test_trim_keeps_the_fences_and_what_follows(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a", b"b")
    log, _ = take_over(objects)  # 7 to 10
    append(log, b"c", b"d")
    assert log.trim(11) == 3
    assert slots(objects) == [1, 2, 3, 4, 7, 8, 9, 10, 12]
    assert log.trim(11) == 0
    assert log.trim(5) == 0
    assert append(log, b"e") == [13]
    assert log.trim(10**9) == 2
    with pytest.raises(LogGap, match="trimmed through 13"):
        take_over(objects, after=12)
    log, replayed = take_over(objects, after=13)
    assert replayed == {}
    assert log.next_sequence == 18
    append(log, b"f")
    for _ in range(3):
        log.trim(append(log, b"g")[0])
    assert len(objects.list("s/trim/")) == 2
    assert slots(objects) == [*range(1, 5), *range(7, 11), *range(14, 18)]
    assert take_over(objects, after=log.acked)[1] == {}


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


def test_a_replay_that_was_trimmed_meanwhile_is_a_gap(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a", b"b")
    _, replayed = Log.take_over(objects, "s", after=0)
    next(replayed)
    log.trim(6)  # stale, and true: a snapshot holds these
    with pytest.raises(LogGap):
        next(replayed)


def test_a_corrupt_trim_mark_is_data_loss(objects: GatedObjects) -> None:
    log, _ = take_over(objects)
    log.trim(append(log, b"a")[0])
    mark = objects._root / f"s/trim/{5:020d}"
    mark.write_bytes(mark.read_bytes()[:-3])
    with pytest.raises(DataLoss, match="s/trim/"):
        take_over(objects, after=5)
