"""The bounded door of the Mine path: how many calls wait, who goes first, and who is not served at all.

A call waits here for one of `workers` threads. Beyond `anchors_max` waiting anchors a caller gets Overloaded at once;
a caller who left is dropped, and one whose deadline passed while waiting never reaches a scan. What it is not: it does
not join calls into one scan.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from negmine_server import metrics
from negmine_server.errors import DeadlinePassed, Overloaded

T = TypeVar("T")
RETRY_AFTER_MS = 50

_WAITING = metrics.gauge("negmine_queue_anchors", "Anchors waiting for a mining thread.")
_BATCH = metrics.histogram("negmine_mine_anchors", "Anchors of one scan.", buckets=metrics.ROWS)
_REFUSED = metrics.counter("negmine_refused_mines", "Mine calls that never reached a scan.", "reason")


class Intake:
    """Belongs to one event loop.

    Args:
        threads: runs the work; at least `workers` of its threads must be free for it.
        workers: calls worked on at once.
        anchors_max: anchors that may wait.
    """

    def __init__(self, threads: Executor, *, workers: int, anchors_max: int) -> None:
        self._threads = threads
        self._free = workers
        self._anchors_max = anchors_max
        self._waiting = 0
        self._order = 0
        self._queue: list[tuple[int, int, asyncio.Future[None]]] = []  # (priority, arrival, turn)

    async def run(self, anchors: int, work: Callable[[], T], *, deadline: float | None, priority: int = 0) -> T:
        """Runs `work` on a thread when its turn comes; lower `priority` first, then by arrival.

        `deadline` is in seconds of time.monotonic().

        Raises:
            Overloaded: too many anchors wait already.
            DeadlinePassed: before the turn came.
        """
        await self._turn(anchors, priority)
        try:
            if deadline is not None and time.monotonic() >= deadline:
                _REFUSED.labels("deadline").inc()
                raise DeadlinePassed("the deadline passed while the call waited for a mining thread")
            _BATCH.observe(anchors)
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._leave()

    async def _turn(self, anchors: int, priority: int) -> None:
        if self._free > 0:
            self._free -= 1
            return
        if self._waiting + anchors > self._anchors_max:
            _REFUSED.labels("overloaded").inc()
            raise Overloaded(
                f"{self._waiting} anchors wait already, at most {self._anchors_max} may; retry later",
                retry_after_ms=RETRY_AFTER_MS,
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._queue, (priority, self._order, turn))
        self._count(anchors)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # the turn had come already
            _REFUSED.labels("caller_left").inc()
            raise
        finally:
            self._count(-anchors)

    def _leave(self) -> None:
        """Hands the place to the next that still waits."""
        while self._queue:
            _, _, turn = heapq.heappop(self._queue)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _count(self, anchors: int) -> None:
        self._waiting += anchors
        _WAITING.set(self._waiting)
