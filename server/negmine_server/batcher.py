"""Joins concurrent Mine calls into one scan.

Calls wait here for one of a few workers, which takes a batch of them: calls of one collection and one priority, clients
in turn, each client's in order of arrival. It reads each and scans those that can be mined as one. A call that is wrong
fails alone; one whose caller left or whose deadline passed is dropped before it reaches a scan. Beyond `anchors_max`
waiting anchors a caller gets Overloaded at once.

A batch begins at once while nothing is scanned. During a scan, calls gather until it ends (its threads are busy anyway)
or until they fill a batch. Once a batch joined several calls, their callers are likely to come back at the same time:
the next one lingers until as many calls are there again, for no more than a share of what the last one took.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Lock, Thread
from typing import Any, Generic, TypeVar

from negmine_server import metrics
from negmine_server.errors import DeadlinePassed, Overloaded

RETRY_AFTER_MS = 50
PRIORITIES = 2  # step, bulk
LINGER_SHARE = 0.25  # of the last batch's time

_WAITING = metrics.gauge("negmine_queue_anchors", "Anchors waiting for a mining thread.")
_ANCHORS = metrics.histogram("negmine_mine_anchors", "Anchors of one scan.", buckets=metrics.ROWS)
_CALLS = metrics.histogram("negmine_mine_calls", "Mine calls joined in one scan.", buckets=metrics.ROWS)
_REFUSED = metrics.counter("negmine_refused_mines", "Mine calls that never reached a scan.", "reason")

Request = TypeVar("Request")
Ready = TypeVar("Ready")
Scanned = TypeVar("Scanned")
Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class Work(Generic[Request, Ready, Scanned, Reply]):
    """What the workers do, on their threads."""

    read: Callable[[Request], Ready]  # raises what is wrong with a request
    key: Callable[[Ready], Hashable]  # what requests must agree in to be scanned as one
    scan: Callable[[Sequence[Ready]], Scanned]
    write: Callable[[Sequence[Ready], Scanned], Sequence[Reply]]  # the replies, in order


@dataclass(slots=True, eq=False)
class Call(Generic[Request]):
    """One call that waits; what it is must not change while it does."""

    request: Request
    collection: object  # calls of the same one may share a batch
    anchors: int
    client: str
    deadline: float | None = None  # seconds of time.monotonic()
    priority: int = 0  # the lower, the sooner
    answer: asyncio.Future[Any] = field(init=False)


class Batcher(Generic[Request, Ready, Scanned, Reply]):
    """Serves the calls of event loops on `workers` threads of its own, until closed.

    Args:
        workers: batches worked on at once: while one is scanned, another is written.
        anchors_max: anchors that may wait.
        batch_anchors_max: anchors of a batch, unless one call alone has more.
        linger_s: longest time that a free worker waits for more calls.
    """

    def __init__(
        self,
        work: Work[Request, Ready, Scanned, Reply],
        *,
        workers: int,
        anchors_max: int,
        batch_anchors_max: int,
        linger_s: float,
    ) -> None:
        self._work = work
        self._anchors_max = anchors_max
        self._batch_anchors_max = batch_anchors_max
        self._linger_s = linger_s
        self._lines = [_Line() for _ in range(PRIORITIES)]
        self._calls = self._anchors = 0  # that wait
        self._awaited = 1  # calls that a free worker waits for
        self._last_calls, self._last_s, self._last_at = 1, 0.0, -math.inf
        self._scanning = 0  # batches that were taken and whose scan has not ended
        self._closed = False
        self._changed = Condition()
        self._door = Lock()  # one worker at a time waits for calls; the others wait for it
        self._threads = [Thread(target=self._serve, name=f"mine_{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    async def run(self, call: Call[Request]) -> Reply:
        """The reply to one call.

        Raises:
            Overloaded: too many anchors wait already.
            DeadlinePassed: before a scan began.
        """
        call.answer = asyncio.get_running_loop().create_future()
        with self._changed:
            self._admit(call)
        try:
            reply: Reply = await call.answer
        except asyncio.CancelledError:
            self._drop(call)
            raise
        return reply

    @property
    def quiet_s(self) -> float:
        """Seconds since the last scan ended."""
        return 0.0 if self._scanning else time.perf_counter() - self._last_at

    def close(self) -> None:
        """Ends the workers after the batches they have; calls that wait are cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for line in self._lines:
            for call in line.calls():
                call.answer.get_loop().call_soon_threadsafe(call.answer.cancel)

    def _admit(self, call: Call[Any]) -> None:
        at_once = not self._scanning and not self._calls
        if not at_once and self._anchors + call.anchors > self._anchors_max:
            _REFUSED.labels("overloaded").inc()
            raise Overloaded(
                f"{self._anchors} anchors wait already, at most {self._anchors_max} may; retry later",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self._lines[call.priority].add(call)
        self._count(1, call.anchors)
        if self._ready():
            self._changed.notify()

    def _drop(self, call: Call[Any]) -> None:
        """The caller left; a worker that has the call already finds out by itself."""
        with self._changed:
            if self._lines[call.priority].remove(call):
                self._count(-1, -call.anchors)
                _REFUSED.labels("caller_left").inc()

    def _count(self, calls: int, anchors: int) -> None:
        self._calls += calls
        self._anchors += anchors
        _WAITING.set(self._anchors)

    # On a worker's thread.

    def _serve(self) -> None:
        while batch := self._next():
            self._run_batch(batch)

    def _next(self) -> list[Call[Any]]:
        """The next batch; empty once closed."""
        with self._door, self._changed:
            while True:
                self._await(1)
                if self._calls < self._last_calls:
                    self._await(self._last_calls, min(self._linger_s, LINGER_SHARE * self._last_s))
                if self._closed:
                    return []
                if batch := next((line.take(self._batch_anchors_max) for line in self._lines if line), []):
                    break
            self._count(-len(batch), -sum(call.anchors for call in batch))
            self._scanning += 1
            self._last_calls = len(batch)
            return batch

    def _await(self, calls: int, timeout_s: float | None = None) -> None:
        self._awaited = calls
        self._changed.wait_for(self._ready, timeout_s)

    def _ready(self) -> bool:
        """Whether a worker waits no longer."""
        gathered = self._calls >= self._awaited and not self._scanning
        return self._closed or gathered or self._anchors >= self._batch_anchors_max

    def _run_batch(self, batch: list[Call[Any]]) -> None:
        begin = time.perf_counter()
        groups: dict[Hashable, list[tuple[Call[Any], Ready]]] = {}
        for call in filter(_wanted, batch):
            try:
                ready = self._work.read(call.request)
            except Exception as error:  # noqa: BLE001 (whatever it is, it is the caller's answer)
                _settle([call], [error])
            else:
                groups.setdefault(self._work.key(ready), []).append((call, ready))
        scanned = [part for group in groups.values() for part in self._scan(group)]
        with self._changed:
            self._scanning -= 1
            self._last_at = time.perf_counter()
            self._last_s = self._last_at - begin
            self._changed.notify()
        for group, result in scanned:
            try:
                answers: Sequence[Reply | Exception] = self._work.write([ready for _, ready in group], result)
            except Exception as error:  # noqa: BLE001 (somebody waits for an answer)
                answers = [error] * len(group)
            _settle([call for call, _ in group], answers)

    def _scan(self, group: list[tuple[Call[Any], Ready]]) -> list[tuple[list[tuple[Call[Any], Ready]], Scanned]]:
        """Scans calls as one; where that fails each by itself, so that each fails for what is its own."""
        group = [pair for pair in group if _wanted(pair[0])]
        if not group:
            return []
        _CALLS.observe(len(group))
        _ANCHORS.observe(sum(call.anchors for call, _ in group))
        try:
            return [(group, self._work.scan([ready for _, ready in group]))]
        except Exception as error:  # noqa: BLE001 (somebody waits for an answer)
            if len(group) > 1:
                return [part for pair in group for part in self._scan([pair])]
            _settle([group[0][0]], [error])
            return []


class _Line:
    """The calls of one priority: clients take turns, each client's calls go in order of arrival."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, OrderedDict[Call[Any], None]] = OrderedDict()

    def __len__(self) -> int:
        """Clients that wait."""
        return len(self._clients)

    def calls(self) -> list[Call[Any]]:
        """All that wait."""
        return [call for calls in self._clients.values() for call in calls]

    def add(self, call: Call[Any]) -> None:
        """Appends a call."""
        self._clients.setdefault(call.client, OrderedDict())[call] = None

    def remove(self, call: Call[Any]) -> bool:
        """Takes a call out; False if it does not wait any more."""
        calls = self._clients.get(call.client, OrderedDict())
        if call not in calls:
            return False
        del calls[call]
        if not calls:
            del self._clients[call.client]
        return True

    def take(self, anchors_max: int) -> list[Call[Any]]:
        """Takes a batch: the call whose turn it is, and those of its collection for which there is room beside it."""
        taken: list[Call[Any]] = []
        anchors = passed = 0  # clients in a row that could not come along
        while passed < len(self._clients):
            client, calls = next(iter(self._clients.items()))
            call = next(iter(calls))
            if not taken or (call.collection is taken[0].collection and anchors + call.anchors <= anchors_max):
                taken.append(call)
                anchors += call.anchors
                passed = 0
                self.remove(call)
            else:
                passed += 1
            if client in self._clients:
                self._clients.move_to_end(client)
        return taken


def _wanted(call: Call[Any]) -> bool:
    """Whether somebody waits for the answer; one whose deadline passed is told."""
    if call.answer.done():
        _REFUSED.labels("caller_left").inc()
        return False
    if call.deadline is not None and time.monotonic() >= call.deadline:
        _REFUSED.labels("deadline").inc()
        _settle([call], [DeadlinePassed("the deadline passed while the call waited for a mining thread")])
        return False
    return True


def _settle(calls: Sequence[Call[Any]], answers: Sequence[object]) -> None:
    """Hands out answers; the loop is woken once for all of them."""
    calls[0].answer.get_loop().call_soon_threadsafe(_answer, calls, answers)


def _answer(calls: Sequence[Call[Any]], answers: Sequence[object]) -> None:
    for call, answer in zip(calls, answers, strict=True):
        if call.answer.done():  # the caller left meanwhile
            continue
        if isinstance(answer, Exception):
            call.answer.set_exception(answer)
        else:
            call.answer.set_result(answer)
