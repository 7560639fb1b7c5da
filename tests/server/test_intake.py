"""The bounded door of the Mine path: order, priority, bound, deadlines and callers who leave."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from negmine_server.errors import DeadlinePassed, Overloaded
from negmine_server.intake import Intake


class Door:
    """An intake with one worker that is busy until it is let go."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(4)
        self.intake = Intake(self.pool, workers=1, anchors_max=10)
        self.begun, self.go = threading.Event(), threading.Event()
        self.ran: list[str] = []

    async def busy(self) -> asyncio.Task[None]:
        def work() -> None:
            self.begun.set()
            assert self.go.wait(30)

        task = asyncio.ensure_future(self.intake.run(1000, work, deadline=None))
        await asyncio.get_running_loop().run_in_executor(None, self.begun.wait)
        return task

    def ask(self, name: str, anchors: int = 1, **fields: float | None) -> asyncio.Task[None]:
        return asyncio.ensure_future(
            self.intake.run(anchors, lambda: self.ran.append(name), **{"deadline": None, **fields})  # type: ignore[arg-type]
        )


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    yield made
    made.go.set()
    made.pool.shutdown()


async def turn() -> None:
    """Lets every task that can run reach its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_free_worker_takes_any_number(door: Door) -> None:
    assert await door.intake.run(10**9, lambda: 7, deadline=None) == 7


async def test_steps_go_before_bulk_and_each_in_order_of_arrival(door: Door) -> None:
    busy = await door.busy()
    tasks = [door.ask(name, priority=priority) for name, priority in (("b1", 1), ("s1", 0), ("b2", 1), ("s2", 0))]
    await turn()
    door.go.set()
    await asyncio.gather(busy, *tasks)
    assert door.ran == ["s1", "s2", "b1", "b2"]


async def test_beyond_its_bound_it_refuses_at_once(door: Door) -> None:
    busy = await door.busy()
    first = door.ask("first", 6)
    await turn()
    with pytest.raises(Overloaded, match="6 anchors wait already, at most 10") as caught:
        await door.ask("second", 5)
    assert caught.value.retry_after_ms > 0
    third = door.ask("third", 4)
    door.go.set()
    await asyncio.gather(busy, first, third)
    assert door.ran == ["first", "third"]


async def test_a_caller_who_left_is_not_served_and_frees_its_room(door: Door) -> None:
    busy = await door.busy()
    gone, kept = door.ask("gone", 10), None
    await turn()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    kept = door.ask("kept", 10)
    await turn()
    door.go.set()
    await asyncio.gather(busy, kept)
    assert door.ran == ["kept"]
    assert await door.intake.run(1, lambda: 1, deadline=None) == 1


async def test_a_caller_who_leaves_as_its_turn_comes_hands_it_on(door: Door) -> None:
    busy = await door.busy()
    gone, next_one = door.ask("gone"), door.ask("next")
    await turn()
    busy.add_done_callback(lambda _: gone.cancel())
    door.go.set()
    await asyncio.wait([busy, gone, next_one])
    assert "next" in door.ran
    assert await door.intake.run(1, lambda: 1, deadline=None) == 1


async def test_a_deadline_that_passed_in_the_queue_is_told(door: Door) -> None:
    busy = await door.busy()
    late = door.ask("late", deadline=time.monotonic())
    fine = door.ask("fine", deadline=time.monotonic() + 60)
    await turn()
    door.go.set()
    with pytest.raises(DeadlinePassed):
        await late
    await asyncio.gather(busy, fine)
    assert door.ran == ["fine"]


async def test_work_that_raises_frees_its_worker(door: Door) -> None:
    def fail() -> None:
        raise ValueError("so")

    work: Callable[[], None] = fail
    for _ in range(3):
        with pytest.raises(ValueError, match="so"):
            await door.intake.run(1, work, deadline=None)
