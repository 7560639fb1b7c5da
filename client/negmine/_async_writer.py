"""A stream of upserts for asyncio; the blocking writer's twin, over the same `Outbox`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from negmine import _upserts
from negmine._exceptions import ClientClosed, DeadlineExceeded, NegmineError, Unavailable, from_rpc
from negmine._results import UpsertResult
from negmine.v1 import index_pb2

if TYPE_CHECKING:
    from negmine._async_client import AsyncClient

_HIDDEN_STATUS: Final = "Internal error from Core"


class AsyncWriter:
    """Pushes items step after step; from `AsyncCollection.writer()`, as an asynchronous context manager.

    As `Writer`; it runs a task instead of a thread.
    """

    def __init__(
        self,
        client: AsyncClient,
        plan: _upserts.Plan,
        *,
        on_ack: Callable[[UpsertResult], object] | None,
        timeout_s: float | None,
    ) -> None:
        settings = client.settings
        self._client = client
        self._on_ack = on_ack
        self._timeout_s = timeout_s or settings.timeout_s
        self._outbox = _upserts.Outbox(plan, settings.retry, settings.message_bytes_max)
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._opened = False  # the server has answered `ready` once
        self._closed = False
        self._reporting = False  # `on_ack` is being called, or has failed
        self._failure: Exception | None = None
        self._progress_s = 0.0  # when an ack came, or a batch began to wait

    async def __aenter__(self) -> Self:
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        else:
            await self.cancel()

    @property
    def result(self) -> UpsertResult:
        """What is acked so far."""
        return self._outbox.result

    async def send(
        self,
        ids: Any,
        items: Any,
        *,
        step: int = 0,
        generation: int | None = None,
        groups: Any = None,
        tags: Any = None,
        uncertainties: Any = None,
    ) -> None:
        """Sends n items as `AsyncCollection.upsert` takes them; waits only while the window is full.

        Raises:
            NegmineError: an earlier batch failed for good; `progress` says how many rows are in.
        """
        held = _upserts.items(ids, items, step, generation, groups, tags, uncertainties)
        self._begin()
        async with self._changed:
            await self._wait(lambda: self._opened)
            for rows in self._outbox.cut(held):
                await self._wait(lambda: not self._outbox.full)
                if not self._outbox.waiting:
                    self._progress_s = self._now_s()
                self._outbox.put(held.request(rows), rows.stop - rows.start)
                self._changed.notify_all()

    async def flush(self) -> UpsertResult:
        """Waits until everything sent is durable and visible; what became of it since the writer was made.

        Raises:
            NegmineError: a batch failed for good; `progress` says how many rows are in.
            DeadlineExceeded: no ack came for `timeout_s`.
        """
        self._begin()
        async with self._changed:
            await self._wait(lambda: self._opened and not self._outbox.waiting and not self._reporting)
            return self._outbox.result

    async def close(self) -> None:
        """Flushes, and ends the stream and the task."""
        try:
            if self._task is not None and self._failure is None and not self._closed:
                await self.flush()
        finally:
            await self.cancel()

    async def cancel(self) -> None:
        """Ends the stream and the task without waiting for acks."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _begin(self) -> None:
        if self._closed:
            raise self._outbox.blame(ClientClosed("the writer is closed"))
        if self._task is None:
            self._progress_s = self._now_s()
            self._task = asyncio.create_task(self._run(), name="negmine-writer")

    async def _wait(self, condition: Callable[[], bool]) -> None:
        """Waits for the condition, with the lock held, as long as acks keep coming."""
        while self._failure is None and not condition():
            left_s = self._progress_s + self._timeout_s - self._now_s()
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                if self._progress_s + self._timeout_s <= self._now_s():
                    self._failure = self._outbox.blame(
                        DeadlineExceeded(f"no ack of an upsert for {self._timeout_s} s", reason="NO_ACK")
                    )
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        """The task: one connection after another until the writer closes or fails for good."""
        try:
            while True:
                error = await self._connect()
                async with self._changed:
                    delay_s = self._outbox.fail(error)
                await asyncio.sleep(delay_s)
        except Exception as final:  # noqa: BLE001 — raised in the caller's task, whatever it is
            async with self._changed:
                self._failure = self._failure or final
                self._changed.notify_all()

    async def _connect(self) -> NegmineError:
        """Runs one connection to its end, and says why it ended."""
        connection = self._client._connections.current()
        call = connection.stubs["index"].Upsert(metadata=connection.settings.metadata)
        sender = asyncio.create_task(self._send_all(call))
        try:
            async for message in call:
                await self._receive(message)
        except grpc.RpcError as failure:
            return _ended(failure)
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            call.cancel()
        return Unavailable("the server ended the upsert stream", reason="STREAM_ENDED")

    async def _receive(self, message: index_pb2.UpsertResponse) -> None:
        async with self._changed:
            if self._outbox.receive(message) and self._on_ack is not None:
                self._reporting = True
                self._on_ack(self._outbox.result)
                self._reporting = False
            self._opened = self._opened or self._outbox.ready
            self._progress_s = self._now_s()
            self._changed.notify_all()

    async def _send_all(self, call: Any) -> None:
        """What one connection sends, until it is cancelled or the connection ends."""
        await call.write(self._outbox.start())
        number = 0
        while True:
            sent = await self._after(number)
            number = sent.number
            await call.write(sent.request)

    async def _after(self, number: int) -> _upserts.Sent:
        """The next batch to send, when there is one."""
        async with self._changed:
            while (sent := self._outbox.after(number)) is None:
                await self._changed.wait()
            return sent

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()


def _ended(failure: Any) -> NegmineError:
    """Why a stream ended. A write that fails as the stream ends hides the status under one of gRPC's own (grpc#36066):
    opening the stream again brings it to light."""
    if failure.code() is grpc.StatusCode.INTERNAL and failure.details() == _HIDDEN_STATUS:
        return Unavailable("the upsert stream broke during a write", reason="STREAM_BROKEN")
    return from_rpc(failure)
