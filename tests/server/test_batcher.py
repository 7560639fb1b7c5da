"""The batcher: what joins, whose turn it is, the bound, deadlines, callers who leave, and what it does on errors."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import Any

import pytest
from negmine_server.batcher import Batcher, Call, Work
from negmine_server.errors import DeadlinePassed, Overloaded

HERE, THERE = "here", "there"  # collections


class Door:
    """A batcher of one worker, whose scans are written down and wait while it is shut.

    A request is (key, name): those of the same key are scanned as one. A key "unread", "unscanned" or "unwritten" fails
    there.
    """

    def __init__(self, **settings: Any) -> None:
        self.open, self.begun = threading.Event(), threading.Semaphore(0)
        self.open.set()
        self.scans: list[list[str]] = []
        work = Work(self.read, self.key, self.scan, self.write)
        values = {"workers": 1, "anchors_max": 100, "batch_anchors_max": 10, "linger_s": 0.0}
        self.batcher: Batcher[Any, Any, Any, str] = Batcher(work, **(values | settings))

    def read(self, request: tuple[str, str]) -> tuple[str, str]:
        if request[0] == "unread":
            raise ValueError(request[1])
        return request

    def key(self, ready: tuple[str, str]) -> Hashable:
        return ready[0]

    def scan(self, batch: Sequence[tuple[str, str]]) -> list[str]:
        self.begun.release()
        assert self.open.wait(30)
        names = [name for _, name in batch]
        self.scans.append(names)
        if batch[0][0] == "unscanned" and "wrong" in names:
            raise ValueError("wrong")
        return names

    def write(self, batch: Sequence[tuple[str, str]], scanned: list[str]) -> list[str]:
        if batch[0][0] == "unwritten":
            raise ValueError(scanned[0])
        return [f"{name}!" for name in scanned]

    def ask(
        self, name: str, client: str = "a", *, key: str = "k", collection: str = HERE, anchors: int = 1, **fields: Any
    ) -> asyncio.Task[str]:
        return asyncio.ensure_future(self.batcher.run(Call((key, name), collection, anchors, client, **fields)))

    async def shut(self) -> asyncio.Task[str]:
        """A scan begins and does not end until the door opens."""
        self.open.clear()
        busy = self.ask("busy", "z")
        await asyncio.get_running_loop().run_in_executor(None, self.begun.acquire)
        return busy


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    yield made
    made.open.set()
    made.batcher.close()


async def turn() -> None:
    """Lets every task that can run reach its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def served(door: Door, *tasks: asyncio.Task[str]) -> list[list[str]]:
    """What is scanned together once the door opens."""
    await turn()
    door.open.set()
    await asyncio.wait(tasks)
    return door.scans[1:]


async def test_an_idle_worker_takes_a_call_of_any_size_at_once(door: Door) -> None:
    assert await door.ask("x", anchors=10**9) == "x!"


async def test_calls_that_wait_are_scanned_as_one(door: Door) -> None:
    busy = await door.shut()
    tasks = [door.ask(name) for name in "abc"]
    assert await served(door, busy, *tasks) == [["a", "b", "c"]]
    assert [task.result() for task in tasks] == ["a!", "b!", "c!"]


async def test_other_options_and_other_collections_are_scanned_apart(door: Door) -> None:
    busy = await door.shut()
    tasks = [
        door.ask("a"),
        door.ask("b", key="other"),
        door.ask("c", "b", collection=THERE),
        door.ask("d"),
        door.ask("e", "c"),
    ]
    assert await served(door, busy, *tasks) == [["a", "e", "d"], ["b"], ["c"]]


async def test_steps_go_before_bulk_and_apart_from_it(door: Door) -> None:
    busy = await door.shut()
    tasks = [door.ask(name, priority=priority) for name, priority in (("b1", 1), ("s1", 0), ("b2", 1), ("s2", 0))]
    assert await served(door, busy, *tasks) == [["s1", "s2"], ["b1", "b2"]]


async def test_clients_take_turns_when_a_batch_cannot_hold_all(door: Door) -> None:
    busy = await door.shut()
    tasks = [door.ask(f"a{n}", "a", anchors=3) for n in range(4)]
    tasks += [door.ask(f"b{n}", "b", anchors=3) for n in range(2)]
    tasks.append(door.ask("c0", "c", anchors=3))
    assert await served(door, busy, *tasks) == [["a0", "b0", "c0"], ["a1", "b1", "a2"], ["a3"]]


async def test_a_large_call_is_not_passed_by_for_ever(door: Door) -> None:
    busy = await door.shut()
    tasks = [door.ask("a0", "a"), door.ask("large", "b", anchors=50), door.ask("c0", "c"), door.ask("a1", "a")]
    assert await served(door, busy, *tasks) == [["a0", "c0", "a1"], ["large"]]


async def test_what_fills_a_batch_does_not_wait_for_the_scan_under_way() -> None:
    door = Door(workers=2)
    busy = await door.shut()
    tasks = [door.ask(name, anchors=5) for name in "ab"]
    await asyncio.get_running_loop().run_in_executor(None, door.begun.acquire)
    late = door.ask("late")
    assert await served(door, busy, *tasks, late) in ([["busy"], ["late"]], [["a", "b"], ["late"]])
    door.batcher.close()


async def test_beyond_its_bound_it_refuses_at_once(door: Door) -> None:
    busy = await door.shut()
    first = door.ask("first", anchors=60)
    await turn()
    with pytest.raises(Overloaded, match="60 anchors wait already, at most 100") as caught:
        await door.ask("second", anchors=41)
    assert caught.value.retry_after_ms > 0
    third = door.ask("third", anchors=40)
    assert await served(door, busy, first, third) == [["first"], ["third"]]


async def test_a_caller_who_left_is_not_served_and_frees_its_room(door: Door) -> None:
    busy = await door.shut()
    gone = door.ask("gone", anchors=100)
    await turn()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    kept = door.ask("kept", anchors=100)
    assert await served(door, busy, kept) == [["kept"]]


async def test_a_caller_may_leave_during_the_scan(door: Door) -> None:
    busy = await door.shut()
    busy.cancel()
    other = door.ask("other")
    assert await served(door, busy, other) == [["other"]]
    assert other.result() == "other!"


async def test_a_deadline_that_passed_never_reaches_a_scan(door: Door) -> None:
    busy = await door.shut()
    late = door.ask("late", deadline=time.monotonic())
    fine = door.ask("fine", deadline=time.monotonic() + 60)
    assert await served(door, busy, late, fine) == [["fine"]]
    with pytest.raises(DeadlinePassed):
        await late


async def test_a_wrong_request_fails_alone(door: Door) -> None:
    busy = await door.shut()
    wrong, right = door.ask("wrong", key="unread"), door.ask("right")
    assert await served(door, busy, wrong, right) == [["right"]]
    with pytest.raises(ValueError, match="wrong"):
        await wrong


async def test_a_scan_that_fails_is_repeated_call_by_call(door: Door) -> None:
    busy = await door.shut()
    tasks = [door.ask(name, key="unscanned") for name in ("a", "wrong", "b")]
    assert await served(door, busy, *tasks) == [["a", "wrong", "b"], ["a"], ["wrong"], ["b"]]
    assert [tasks[0].result(), tasks[2].result()] == ["a!", "b!"]
    with pytest.raises(ValueError, match="wrong"):
        await tasks[1]


async def test_errors_leave_the_worker_at_work(door: Door) -> None:
    for key in ("unread", "unscanned", "unwritten"):
        with pytest.raises(ValueError, match="wrong"):
            await door.ask("wrong", key=key)
    assert await door.ask("x") == "x!"


async def test_after_a_joined_batch_a_worker_waits_for_as_many_calls() -> None:
    door = Door(linger_s=20.0)
    busy = await door.shut()
    await served(door, busy, *(door.ask(name) for name in "abc"))
    door.batcher._last_s = 80.0  # a scan so slow that no wait of this test is too long
    tasks = [door.ask(name) for name in "def"]
    await asyncio.wait(tasks)
    assert door.scans[2:] == [["d", "e", "f"]]
    door.batcher.close()


async def test_a_worker_waits_for_no_more_than_a_share_of_the_last_scan() -> None:
    door = Door(linger_s=20.0)
    busy = await door.shut()
    await served(door, busy, *(door.ask(name) for name in "abc"))
    assert await asyncio.wait_for(door.ask("d"), 10) == "d!"
    assert door.scans[2:] == [["d"]]
    door.batcher.close()


async def test_closing_ends_what_is_scanned_and_cancels_what_waits(door: Door) -> None:
    busy = await door.shut()
    waiting = door.ask("waiting")
    await turn()
    closing = asyncio.get_running_loop().run_in_executor(None, door.batcher.close)
    while not door.batcher._closed:  # noqa: ASYNC110 (ends as soon as it is told)
        await asyncio.sleep(0)
    door.open.set()
    await closing
    assert await busy == "busy!"
    await asyncio.wait([waiting])
    assert waiting.cancelled()
