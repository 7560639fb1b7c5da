"""Mine calls on their way: up to a window of them, answered in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from negmine import _joins, _requests
from negmine._channel import Connection
from negmine._exceptions import Cancelled, InvalidInput, NegmineError
from negmine._models import ServerInfo
from negmine._options import MineArgs
from negmine._requests import MinePlan
from negmine._results import Negatives
from negmine.v1 import mining_pb2

PARTS_IN_FLIGHT: Final = 4  # parts of one call on their way at a time
_INSTANT_S: Final = 1e-3  # a deadline that has passed already, as gRPC takes it


@dataclass(slots=True, eq=False)
class Part:
    """One part of one batch: a call to make, or the error that the batch's arguments earned."""

    plan: MinePlan | None
    rows: slice
    last: bool
    error: NegmineError | None = None


@dataclass(slots=True, eq=False)
class Joiner:
    """Collects the replies to a batch's parts, which come in order."""

    replies: list[mining_pb2.MineResponse] = field(default_factory=list)

    def add(self, part: Part, reply: mining_pb2.MineResponse) -> Negatives | None:
        """The batch's answer, with its last part."""
        assert part.plan is not None
        self.replies.append(reply)
        if not part.last:
            return None
        replies, self.replies = self.replies, []
        return _joins.join(part.plan, replies)


def parts(collection: str, batches: Iterable[MineArgs], server: ServerInfo) -> Iterator[Part]:
    """The parts of every batch in order; a batch whose arguments are wrong is one part with its error."""
    for args in batches:
        try:
            plan = _requests.plan(collection, args)
            cuts = plan.parts(server)
        except NegmineError as wrong:
            yield Part(None, slice(0, 0), last=True, error=wrong)
            continue
        for rows in cuts:
            yield Part(plan, rows, last=rows is cuts[-1])


def checked_window(window: int) -> int:
    """The window, where it is at least 1."""
    if window < 1:
        raise InvalidInput(f"window is {window}; expected at least 1", field="window")
    return window


class MinePipeline:
    """Iterates over the answers to batches, with up to `window` calls on their way.

    With `timeout_s` every call ends within so many seconds from here on, whatever its own deadline.
    """

    def __init__(
        self,
        connection: Connection,
        collection: str,
        batches: Iterable[MineArgs],
        window: int,
        timeout_s: float | None = None,
    ) -> None:
        self._connection = connection
        self._collection = collection
        self._batches = batches
        self._window = checked_window(window)
        self._waiting: deque[tuple[Part, Any]] = deque()
        self._cancelled = False
        self._ends = None if timeout_s is None else time.monotonic() + timeout_s

    def __iter__(self) -> Iterator[Negatives]:
        joiner = Joiner()
        todo = parts(self._collection, self._batches, self._connection.server(self._left_s(None)))
        try:
            while self._fill(todo):
                part, future = self._waiting[0]
                whole = joiner.add(part, self._reply(part, future))
                self._waiting.popleft()
                if whole is not None:
                    yield whole
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Gives up what is on its way; another thread that waits for it gets Cancelled."""
        self._cancelled = True
        for _, future in list(self._waiting):
            if future is not None:
                future.cancel()

    def _fill(self, todo: Iterator[Part]) -> bool:
        """Starts calls until the window is full; whether an answer is to be waited for."""
        while len(self._waiting) < self._window:
            part = next(todo, None)
            if part is None:
                break
            future = None
            if part.plan is not None:
                future = self._connection.start(part.plan.call(part.rows), self._left_s(part.plan.timeout_s))
            self._waiting.append((part, future))
        return bool(self._waiting)

    def _left_s(self, timeout_s: float | None) -> float | None:
        """The deadline of a call, in seconds from now; None = the client's."""
        if self._ends is None:
            return timeout_s
        left = max(self._ends - time.monotonic(), _INSTANT_S)
        return left if timeout_s is None else min(left, timeout_s)

    def _reply(self, part: Part, future: Any) -> mining_pb2.MineResponse:
        if part.error is not None:
            raise part.error
        if self._cancelled:
            raise Cancelled("mining was cancelled")
        try:
            reply: mining_pb2.MineResponse = future.result()
        except grpc.RpcError as failure:
            raise self._connection.failed(failure) from None
        except grpc.FutureCancelledError as failure:
            raise Cancelled("mining was cancelled") from failure
        return reply
