"""The writer thread of a shard: group commit.

    submit → queue → one log object for all that waits, up to `window` objects in flight → apply in order → futures

When the log breaks (disk full, say), or the rows have no room for what it holds, everything in flight fails and the
next batch takes the log over again under the fence protocol of `storage.log`; a batch in doubt that made it after all
is applied by that takeover.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import TypeVar

from negmine_server import metrics
from negmine_server.domain import Applied, Batch
from negmine_server.errors import Fenced, NegmineError, NotReady, Overloaded, StorageFailed, StorageFull
from negmine_server.storage.log import Log
from negmine_server.storage.records import encode_batch
from negmine_server.writers import Writers

LOG = logging.getLogger(__name__)
RETRY_AFTER_MS = 100
T = TypeVar("T")

_COMMIT_ROWS = metrics.histogram("negmine_commit_rows", "Rows of one group commit.", buckets=metrics.ROWS)
_QUEUE = metrics.gauge("negmine_shard_queue_batches", "Batches waiting for a log object, over all shards.")


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """Bounds of a writer thread."""

    window: int = 8  # log objects in flight
    bytes_max: int = 4 << 20  # of one log object
    queue_batches_max: int = 256


@dataclass(slots=True, eq=False)
class _Work:
    batch: Batch
    payload: bytes
    future: Future[Applied]


class Committer:
    """Owns the log. Only its thread calls `take_over` and `apply`, and touches `writers`.

    Args:
        name: of the thread, and in messages.
        log: taken over by the caller.
        take_over: takes the log over again after it broke, applying what it finds.
        apply: applies the durable batches of one log object, in order; raises StorageFull where vectors on disk find no
            room, else only what ends the shard.
        writers: numbers of applied batches; `apply` records them.
    """

    def __init__(
        self,
        name: str,
        options: CommitOptions,
        log: Log,
        take_over: Callable[[], Log],
        apply: Callable[[int, list[Batch], int], list[Applied]],
        writers: Writers,
    ) -> None:
        self.problem: NegmineError | None = None  # why nothing is applied any more
        self._name = name
        self._options = options
        self._log: Log | None = log
        self._take_over = take_over
        self._apply = apply
        self._writers = writers
        self._mailbox: SimpleQueue[_Work | Callable[[], None]] = SimpleQueue()
        self._waiting: deque[_Work] = deque()
        self._in_flight: deque[tuple[Future[int], list[_Work]]] = deque()
        self._stopping = False
        self._closing = False
        self._door = Lock()  # what is put in the mailbox before the stop is finished, nothing is put in after it
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, batch: Batch) -> Future[Applied]:
        """Queues a batch; the future resolves once it is durable and visible.

        Raises:
            Overloaded: the queue is full.
            NotReady, Fenced: nothing is applied any more.
        """
        if self.problem is not None:
            raise self.problem
        if self._mailbox.qsize() + len(self._waiting) >= self._options.queue_batches_max:
            raise Overloaded(
                f"{self._name} has {self._options.queue_batches_max} batches waiting; retry later",
                retry_after_ms=RETRY_AFTER_MS,
            )
        work = _Work(batch, encode_batch(batch), Future())
        work.future.set_running_or_notify_cancel()  # a caller who leaves cannot cancel it: it may be in the log already
        with self._door:
            if self._closing:
                raise NotReady(f"{self._name} is closing")
            _QUEUE.inc()
            self._mailbox.put(work)
        return work.future

    def call(self, function: Callable[[Log | None], T]) -> T:
        """Runs a function on the writer thread, between two commits, and waits for it."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(function(self._log))
            except BaseException as error:  # noqa: BLE001 (raised in the caller)
                done.set_exception(error)

        with self._door:
            closing = self._closing
            if not closing:
                self._mailbox.put(run)
        if closing:
            self._thread.join()
            run()
        return done.result()

    def close(self) -> None:
        """Finishes what is queued and ends the thread. Idempotent."""

        def stop() -> None:
            self._stopping = True

        with self._door:
            self._closing = True
            self._mailbox.put(stop)
        if current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not (self._stopping and not self._waiting and not self._in_flight):
            self._receive()
            self._land()
            self._submit()
        if self._log is not None:
            self._log.close()

    def _receive(self) -> None:
        """Waits for one event, then takes all that are there."""
        event = self._mailbox.get()
        try:
            while True:
                if isinstance(event, _Work):
                    self._waiting.append(event)
                else:
                    event()
                event = self._mailbox.get_nowait()
        except Empty:
            return

    def _submit(self) -> None:
        """Hands waiting batches to the log in as few objects as fit."""
        while self._waiting and len(self._in_flight) < self._options.window:
            works: list[_Work] = []
            size = 0
            while self._waiting and (not works or size + len(self._waiting[0].payload) <= self._options.bytes_max):
                work = self._waiting.popleft()
                _QUEUE.dec()
                if self._admit(work):
                    works.append(work)
                    size += len(work.payload)
            if works:
                self._commit(works)

    def _admit(self, work: _Work) -> bool:
        """Whether the batch goes to the log; else its future is resolved here."""
        writer, number = work.batch.writer, work.batch.number
        if self._writers.applied(writer, number):
            self._writers.record(writer, number)
            work.future.set_result(Applied(0, duplicate=True))
            return False
        try:
            self._writers.check(writer, number)
        except NegmineError as error:
            work.future.set_exception(error)
            return False
        return True

    def _commit(self, works: list[_Work]) -> None:
        try:
            if self.problem is not None:
                raise self.problem
            if self._log is None:
                self._log = self._take_over()
            landed = self._log.submit([work.payload for work in works])
        except NegmineError as error:
            self._fail(works, error)
            return
        self._in_flight.append((landed, works))
        landed.add_done_callback(lambda _: self._mailbox.put(_wake))

    def _land(self) -> None:
        """Applies, in order, what has become durable."""
        while self._in_flight and self._in_flight[0][0].done():
            landed, works = self._in_flight.popleft()
            error = landed.exception()
            if error is not None:
                self._break(works, error)
                return
            batches = [work.batch for work in works]
            _COMMIT_ROWS.observe(sum(batch.rows for batch in batches))
            try:
                results = self._apply(landed.result(), batches, sum(len(work.payload) for work in works))
            except StorageFull as full:  # durable: the takeover before the next batch applies what the rows lack
                self._break(works, StorageFailed(f"{self._name}: a durable batch waits for room: {full}"))
                return
            except Exception as problem:  # durable but not visible: this state must not be served on
                LOG.exception("%s cannot apply a durable batch", self._name)
                self.problem = NotReady(f"{self._name} could not apply a durable batch; restart the server")
                self._break(works, problem)
                return
            for work, result in zip(works, results, strict=True):
                work.future.set_result(result)

    def _break(self, works: list[_Work], error: BaseException) -> None:
        """Everything in flight fails with the error; the log is taken over before the next batch."""
        LOG.error("%s: the log failed: %s", self._name, error)
        for _, later in self._in_flight:
            works = works + later
        self._in_flight.clear()
        if self._log is not None:
            self._log.close()
            self._log = None
        problem = error if isinstance(error, NegmineError) else StorageFailed(f"{self._name}: the log failed: {error}")
        if isinstance(problem, Fenced):
            self.problem = problem
        self._fail(works, self.problem or problem)

    def _fail(self, works: list[_Work], error: NegmineError) -> None:
        for work in works:
            self._writers.fail(work.batch.writer, work.batch.number)
            work.future.set_exception(error)


def _wake() -> None:
    """An event that does nothing but wake the writer thread."""
