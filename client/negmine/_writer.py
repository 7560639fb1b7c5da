"""A stream of upserts with a window, resumed after a broken connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from negmine import _upserts
from negmine._exceptions import ClientClosed, DeadlineExceeded, NegmineError, Unavailable, from_rpc
from negmine._results import UpsertResult
from negmine.v1 import index_pb2

if TYPE_CHECKING:
    from negmine._client import Client

_FAREWELL_S: Final = 5.0  # how long the server may take to end a stream that it has acked in full


class Writer:
    """Pushes items step after step; from `Collection.writer()`, as a context manager.

        with collection.writer() as writer:
            for step, (ids, embeddings) in enumerate(training):
                writer.send(ids, embeddings, step=step)

    `send` returns at once while fewer than `window` batches wait for their acks. A broken connection is opened again
    and sending goes on from the first batch without an ack; the server applies nothing twice. Leaving the block waits
    for the last ack, unless an exception leaves it. For one thread and one process; it runs a thread of its own.
    """

    def __init__(
        self,
        client: Client,
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
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._call: Any = None
        self._opened = False  # the server has answered `ready` once
        self._closing = False
        self._reporting = False  # `on_ack` is being called, or has failed
        self._failure: BaseException | None = None
        self._progress_s = 0.0  # when an ack came, or a batch began to wait

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.cancel()

    @property
    def result(self) -> UpsertResult:
        """What is acked so far."""
        with self._changed:
            return self._outbox.result

    def send(
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
        """Sends n items as `Collection.upsert` takes them; waits only while the window is full.

        The arrays are copied: the caller may change them afterwards.

        Raises:
            NegmineError: an earlier batch failed for good; `progress` says how many rows are in.
        """
        held = _upserts.items(ids, items, step, generation, groups, tags, uncertainties)
        self._begin()
        with self._changed:
            self._wait(lambda: self._opened)
            for rows in self._outbox.cut(held):
                self._wait(lambda: not self._outbox.full)
                if not self._outbox.waiting:
                    self._progress_s = time.monotonic()
                self._outbox.put(held.request(rows), rows.stop - rows.start)
                self._changed.notify_all()

    def flush(self) -> UpsertResult:
        """Waits until everything sent is durable and visible; what became of it since the writer was made.

        Raises:
            NegmineError: a batch failed for good; `progress` says how many rows are in.
            DeadlineExceeded: no ack came for `timeout_s`.
        """
        self._begin()
        with self._changed:
            self._wait(lambda: self._opened and not self._outbox.waiting and not self._reporting)
            return self._outbox.result

    def close(self) -> None:
        """Flushes, and ends the stream and the thread."""
        try:
            if self._thread is not None and self._failure is None and not self._closing:
                self.flush()
                with self._changed:
                    self._closing = True  # the requests end, and with them the server's answers
                    self._changed.notify_all()
                self._thread.join(_FAREWELL_S)
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the stream and the thread without waiting for acks."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            if self._call is not None:
                self._call.cancel()
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        if self._closing:
            raise self._outbox.blame(ClientClosed("the writer is closed"))
        if self._thread is None:
            self._progress_s = time.monotonic()
            self._thread = threading.Thread(target=self._run, name="negmine-writer", daemon=True)
            self._thread.start()

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Waits for the condition, with the lock held, as long as acks keep coming."""
        while not condition():
            if self._failure is not None:
                raise self._failure
            left_s = self._progress_s + self._timeout_s - time.monotonic()
            if left_s <= 0:
                self._failure = self._outbox.blame(
                    DeadlineExceeded(f"no ack of an upsert for {self._timeout_s} s", reason="NO_ACK")
                )
                if self._call is not None:
                    self._call.cancel()
                self._changed.notify_all()
                continue
            self._changed.wait(left_s)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """The thread: one connection after another until the writer closes or fails for good."""
        while True:
            try:
                error = self._connect()
                with self._changed:
                    if self._ended() or self._changed.wait_for(self._ended, self._outbox.fail(error)):
                        return
            except BaseException as final:  # noqa: BLE001 — raised in the caller's thread, whatever it is
                with self._changed:
                    self._failure = self._failure or final
                    self._changed.notify_all()
                return

    def _ended(self) -> bool:
        return self._closing or self._failure is not None

    def _connect(self) -> NegmineError:
        """Runs one connection to its end, and says why it ended."""
        connection = self._client._connections.current()
        stream = _Stream(self)
        with self._changed:
            call = connection.stubs["index"].Upsert(stream.requests(), metadata=connection.settings.metadata)
            self._call = call
        try:
            for message in call:
                self._receive(message)
        except grpc.RpcError as failure:
            return from_rpc(failure)
        finally:
            call.cancel()
            with self._changed:
                stream.over = True
                self._changed.notify_all()
        return Unavailable("the server ended the upsert stream", reason="STREAM_ENDED")

    def _receive(self, message: index_pb2.UpsertResponse) -> None:
        with self._changed:
            self._reporting = self._outbox.receive(message) and self._on_ack is not None
            self._opened = self._opened or self._outbox.ready
            self._progress_s = time.monotonic()
            result = self._outbox.result
            self._changed.notify_all()
        if self._reporting and self._on_ack is not None:
            self._on_ack(result)
            with self._changed:
                self._reporting = False
                self._changed.notify_all()


class _Stream:
    """What one connection sends; iterated by a thread of gRPC."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._number = 0  # of the batch sent last
        self.over = False

    def requests(self) -> Iterator[index_pb2.UpsertRequest]:
        """First start, then batches as they line up, until the connection or the writer ends."""
        writer = self._writer
        with writer._changed:
            first = writer._outbox.start()
        yield first
        while (sent := self._next()) is not None:
            self._number = sent.number
            yield sent.request

    def _next(self) -> _upserts.Sent | None:
        writer = self._writer
        sent: _upserts.Sent | None = None

        def found() -> bool:
            nonlocal sent
            if self.over or writer._closing:
                return True
            sent = writer._outbox.after(self._number)
            return sent is not None

        with writer._changed:
            writer._changed.wait_for(found)
        return sent
