"""What a takeover makes of damaged, missing, newer and trimmed records."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from negmine_server.errors import DataLoss, NotReady
from negmine_server.storage.log import Log, LogGap
from negmine_server.storage.objects import LocalObjects

WINDOW = 4


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path)


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


def test_the_window_of_an_earlier_owner_is_respected(objects: LocalObjects) -> None:
    take_over(objects, window=8)
    log, _ = take_over(objects, window=1)
    assert log.next_sequence == 17


@pytest.mark.parametrize("damage", [b"", b"NG", None, "flip"])
def test_a_torn_tail_is_dropped_reported_and_forgiven_later(
    objects: LocalObjects, caplog: pytest.LogCaptureFixture, damage: bytes | str | None
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


def test_a_corrupt_middle_is_data_loss_and_changes_nothing(objects: LocalObjects) -> None:
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


def test_a_damaged_fence_loses_nothing(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a")
    log, _ = take_over(objects)
    append(log, b"b")
    overwrite(objects, 6, b"")
    overwrite(objects, 8, b"junk" * 100)
    assert take_over(objects)[1] == {5: [b"a"], 10: [b"b"]}


def test_a_missing_record_is_a_gap(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    append(log, *[b"x"] * 8)
    slot_path(objects, 6).unlink()
    with pytest.raises(LogGap, match=f"s/log/{6:020d} is missing"):
        take_over(objects)
    with pytest.raises(LogGap):
        take_over(LocalObjects(objects._root / "elsewhere"), after=3)


def test_a_log_without_its_first_fence_is_data_loss(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a")
    for sequence in (1, 2, 3, 4):
        slot_path(objects, sequence).unlink()
    with pytest.raises(DataLoss):
        take_over(objects)


def test_a_record_under_the_wrong_name_is_data_loss(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a", b"b", b"c")
    overwrite(objects, 6, objects.get(f"s/log/{7:020d}"))
    with pytest.raises(DataLoss, match="holds DATA 7"):
        take_over(objects)


def test_a_newer_format_is_refused_and_nothing_is_written(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a")
    data = bytearray(objects.get(f"s/log/{5:020d}"))
    data[4] = 9
    overwrite(objects, 5, bytes(data))
    with pytest.raises(NotReady, match="format version 9"):
        take_over(objects)
    assert slots(objects) == [1, 2, 3, 4, 5]


def test_trim_keeps_the_fences_and_what_follows(objects: LocalObjects) -> None:
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


def test_a_replay_that_was_trimmed_meanwhile_is_a_gap(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    append(log, b"a", b"b")
    _, replayed = Log.take_over(objects, "s", after=0)
    next(replayed)
    log.trim(6)  # stale, and true: a snapshot holds these
    with pytest.raises(LogGap):
        next(replayed)


def test_a_corrupt_trim_mark_is_data_loss(objects: LocalObjects) -> None:
    log, _ = take_over(objects)
    log.trim(append(log, b"a")[0])
    mark = objects._root / f"s/trim/{5:020d}"
    mark.write_bytes(mark.read_bytes()[:-3])
    with pytest.raises(DataLoss, match="s/trim/"):
        take_over(objects, after=5)
