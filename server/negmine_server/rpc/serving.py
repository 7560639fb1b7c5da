"""What every RPC shares: latency and outcome as metrics, errors as status, deadlines, waiting for watermarks."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias, TypeVar

import grpc

from negmine_server import metrics
from negmine_server.collection import Collection
from negmine_server.domain import Watermark
from negmine_server.errors import DeadlinePassed, Draining
from negmine_server.rpc.errors import abort, code_of

Request = TypeVar("Request")
Reply = TypeVar("Reply")
Context: TypeAlias = Any  # grpc.aio.ServicerContext: grpcio has no types

_LATENCY = metrics.histogram("negmine_rpc_seconds", "Time of an RPC; of a stream, until it ended.", "method", "code")
_OPEN = metrics.gauge("negmine_open_rpcs", "RPCs being served.", "method")


def unary(
    method: Callable[[Any, Request, Context], Awaitable[Reply]],
) -> Callable[[Any, Request, Context], Awaitable[Reply]]:
    """A unary handler that observes and ends with the right status."""
    name = method.__name__

    @functools.wraps(method)
    async def handler(self: Any, request: Request, context: Context) -> Reply:
        with _Observed(name) as observed:
            try:
                return await method(self, request, context)
            except Exception as error:
                observed.code = code_of(error)
                await abort(context, error)
                raise

    return handler


def streaming(
    method: Callable[[Any, AsyncIterator[Request], Context], AsyncGenerator[Reply, None]],
) -> Callable[[Any, AsyncIterator[Request], Context], AsyncIterator[Reply]]:
    """A bidirectional handler that observes, ends with the right status, and stops reading once drained."""
    name = method.__name__

    @functools.wraps(method)
    async def handler(self: Any, requests: AsyncIterator[Request], context: Context) -> AsyncIterator[Reply]:
        with _Observed(name) as observed:
            try:
                async with aclosing(method(self, self.drain.until_asked(requests), context)) as replies:
                    async for reply in replies:
                        yield reply
            except Exception as error:  # noqa: BLE001 (whatever it is, the caller gets a status)
                observed.code = code_of(error)
                await abort(context, error)

    return handler


class _Observed:
    """Times one RPC. Left by cancellation, its code is CANCELLED."""

    under_way = 0  # of this process's only event loop

    def __init__(self, method: str) -> None:
        self.code = grpc.StatusCode.OK
        self._method = method

    def __enter__(self) -> _Observed:
        self._begin = time.perf_counter()
        _OPEN.labels(self._method).inc()
        _Observed.under_way += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _OPEN.labels(self._method).dec()
        _Observed.under_way -= 1
        if kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit):
            self.code = grpc.StatusCode.CANCELLED
        _LATENCY.labels(self._method, self.code.name).observe(time.perf_counter() - self._begin)


def under_way() -> int:
    """RPCs of ours being served now; health watches are not among them."""
    return _Observed.under_way


class Drain:
    """Ends streams before the server stops: what they sent is answered, then they end with Draining and may resume."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Ends the streams."""
        self._asked.set()

    async def until_asked(self, requests: AsyncIterator[Request]) -> AsyncIterator[Request]:
        """The requests of a stream. Raises Draining in place of the next one once asked."""
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            while True:
                incoming = asyncio.ensure_future(anext(requests))
                incoming.add_done_callback(_retrieve)
                await asyncio.wait((incoming, asked), return_when=asyncio.FIRST_COMPLETED)
                if not incoming.done():
                    incoming.cancel()
                    raise Draining("the server is about to stop; connect again and resume")
                try:
                    request = incoming.result()
                except StopAsyncIteration:
                    return
                yield request
        finally:
            asked.cancel()


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Takes note of how a task ended, though its stream may have ended first."""
    if not task.cancelled():
        task.exception()


def deadline_of(context: Context) -> float | None:
    """The call's deadline in seconds of time.monotonic(); None = it has none."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining


class Bell:
    """Lets coroutines wait for what threads do: `ring` may be called from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._next: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wakes all who wait."""
        if self._next is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def next(self) -> asyncio.Future[None]:
        """Done at the next ring. Ask before checking what is waited for."""
        if self._next is None:
            self._next = self._loop.create_future()
        return self._next

    def _wake(self) -> None:
        if self._next is not None:
            self._next.set_result(None)
            self._next = None


async def reached(collection: Collection, wanted: Watermark, bell: Bell, deadline: float | None, wait_s: float) -> None:
    """Waits until the collection has reached a watermark.

    Waits until nine tenths of the time to the deadline have gone (at most `wait_s` without one), so that the reply
    can still name the reason.

    Raises:
        IncarnationMismatch: it is another collection's.
        DeadlinePassed: it was not reached in time.
    """
    collection.check_watermark(wanted)
    now = time.monotonic()
    until = now + (wait_s if deadline is None else (deadline - now) * 0.9)
    while True:
        rung = bell.next()
        if collection.watermark.reached(wanted):
            return
        remaining = until - time.monotonic()
        if remaining <= 0:
            raise DeadlinePassed(
                f"{collection.name!r} is at {collection.watermark.sequences}, not at {wanted.sequences}, in time",
                field="min_watermark",
                reason="WATERMARK_NOT_REACHED",
            )
        await asyncio.wait([rung], timeout=remaining)
