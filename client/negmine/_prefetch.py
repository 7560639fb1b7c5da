"""Mines for the next batches while the current one trains."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Literal, Self, TypeVar, cast, overload

from negmine._circuit import AWAY, Circuit
from negmine._collection import Collection
from negmine._exceptions import InvalidInput, NegmineError
from negmine._mining import PARTS_IN_FLIGHT, MinePipeline
from negmine._options import MineArgs
from negmine._results import Negatives

T = TypeVar("T")
N = TypeVar("N")  # Negatives, or with on_error="in_batch" Negatives | None


class Prefetcher(Generic[T, N]):
    """Iterates over (batch, negatives), mining for the batches ahead on a thread of its own.

        for batch, negatives in negmine.Prefetcher(collection, loader, lambda batch: {"anchors": batch.x, "k": 16}):
            train(batch, negatives)

    The order of `batches` is kept. An error, of the server or of `batches` and `anchors` themselves, is raised at the
    step it belongs to. The thread ends with the iteration, however that ends; `close` or leaving a `with` block ends it
    earlier.

    No step waits longer for the server than `timeout_s`, retries included. Where the caller goes on without it, one
    step alone waits that long: after an outage the steps are missed at once, until the server has answered again.

    With DistributedDataParallel each rank has a prefetcher of its own, and ranks may miss different steps:

    - "in_batch": a rank without mined negatives still does its forward and backward pass, over negatives of its own
      batch, so that gradients are reduced as ever. That needs the same parameters and the same number of forward calls
      of the wrapped model on either branch: embed anchors, positives and negatives in one call. Only a loss that itself
      gathers from other ranks needs all of them on one branch: reduce `negatives is not None` by MIN first.
    - "raise": let the error end the process. The other ranks' next collective then fails ("connection closed by peer"
      of gloo) rather than waiting. A process that catches the error and lives on keeps them waiting for the group's
      timeout, 30 minutes unless `init_process_group` is given another: call `destroy_process_group` and leave.

    Args:
        collection: to mine in.
        batches: read on the thread.
        anchors: the arguments of `Collection.mine` for a batch; called on the thread, at most `depth` batches ahead of
            the training step. Not called for batches that are missed.
        depth: batches that are mined ahead, at least 1.
        on_error: what becomes of a batch for which mining failed:
            "raise": the error is raised.
            "in_batch": where the server is away (Unavailable, DeadlineExceeded, or Cancelled by the server), the step's
            negatives are None and it counts as missed; other errors, which waiting does not cure, are raised.
            A function on the caller's thread gives the batch's negatives, or raises; its steps count as missed.
        timeout_s: longest time that mining for one batch takes; `timeout_s` of the batch's arguments unless set, else
            the client's.

    Attributes:
        missed: steps so far that came without mined negatives.

    Raises:
        InvalidInput: depth is less than 1, timeout_s is not above 0 and finite, or on_error is something else.
    """

    @overload
    def __init__(
        self: Prefetcher[T, Negatives],
        collection: Collection,
        batches: Iterable[T],
        anchors: Callable[[T], MineArgs],
        *,
        depth: int = 2,
        on_error: Literal["raise"] | Callable[[T, NegmineError], Negatives] = "raise",
        timeout_s: float | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: Prefetcher[T, Negatives | None],
        collection: Collection,
        batches: Iterable[T],
        anchors: Callable[[T], MineArgs],
        *,
        depth: int = 2,
        on_error: Literal["in_batch"],
        timeout_s: float | None = None,
    ) -> None: ...

    def __init__(
        self,
        collection: Collection,
        batches: Iterable[T],
        anchors: Callable[[T], MineArgs],
        *,
        depth: int = 2,
        on_error: Literal["raise", "in_batch"] | Callable[[T, NegmineError], Negatives] = "raise",
        timeout_s: float | None = None,
    ) -> None:
        if depth < 1:
            raise InvalidInput(f"depth is {depth}; expected at least 1", field="depth")
        if timeout_s is not None and not 0 < timeout_s < math.inf:
            raise InvalidInput(f"timeout_s is {timeout_s}; expected more than 0 and finite", field="timeout_s")
        if not callable(on_error) and on_error not in ("raise", "in_batch"):
            raise InvalidInput(f"on_error is {on_error!r}; expected raise, in_batch or a function", field="on_error")
        self.missed = 0
        self._mine = _Mine(collection, anchors, timeout_s)
        self._batches = batches
        self._depth = depth
        self._on_error = on_error
        self._runs: list[_Run[T]] = []

    def __iter__(self) -> Iterator[tuple[T, N]]:
        run = _Run(self._mine, self._batches, self._depth)
        self._runs.append(run)
        try:
            while (step := run.take()) is not None:
                found = step.negatives if step.error is None else self._without(step.batch, step.error, run)
                yield step.batch, cast("N", found)
        finally:
            run.stop()
            self._runs.remove(run)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iterations under way and their threads; a mine call that waits is cancelled."""
        for run in list(self._runs):
            run.stop()

    def _without(self, batch: T, error: BaseException, run: _Run[T]) -> Negatives | None:
        """What takes the place of a batch's mined negatives."""
        if not isinstance(error, NegmineError) or run.stopped:
            raise error
        found = None
        if callable(self._on_error):
            found = self._on_error(batch, error)
        elif self._on_error == "raise" or not isinstance(error, AWAY):
            raise error
        self.missed += 1
        return found


@dataclass(slots=True, frozen=True)
class _Mine(Generic[T]):
    """How a batch is mined for."""

    collection: Collection
    anchors: Callable[[T], MineArgs]
    timeout_s: float | None

    def pipeline(self, batch: T) -> MinePipeline:
        """The calls for one batch, which end in time; its arguments are made here."""
        connection = self.collection._client._connections.current()
        args = self.anchors(batch)
        timeout_s = self.timeout_s or args.get("timeout_s") or connection.settings.timeout_s
        return MinePipeline(connection, self.collection.name, [args], PARTS_IN_FLIGHT, timeout_s)


@dataclass(slots=True)
class _Step(Generic[T]):
    """A batch with its negatives, or with the error that took their place."""

    batch: T
    negatives: Negatives | None = None
    error: BaseException | None = None


@dataclass(slots=True)
class _End:
    """After the last batch; with the error of `batches` where that ended them."""

    error: BaseException | None = None


class _Run(Generic[T]):
    """One iteration: a thread that mines, and a queue of at most `depth` steps, counting the one it works on."""

    def __init__(self, mine: _Mine[T], batches: Iterable[T], depth: int) -> None:
        self.stopped = False
        self._mine = mine
        self._circuit: Final = Circuit(mine.collection)
        self._slots: Final = threading.Semaphore(depth)
        self._steps: queue.SimpleQueue[_Step[T] | _End] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._pipeline: MinePipeline | None = None
        self._thread = threading.Thread(target=self._mine_all, args=(batches,), name="negmine-prefetch", daemon=True)
        self._thread.start()

    def take(self) -> _Step[T] | None:
        """The next step; None after the last one."""
        step = self._steps.get()
        if isinstance(step, _End):
            if step.error is not None:
                raise step.error
            return None
        self._slots.release()
        return step

    def stop(self) -> None:
        """Ends the thread, and waits for it."""
        with self._lock:
            self.stopped = True
            if self._pipeline is not None:
                self._pipeline.cancel()
        self._slots.release()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _mine_all(self, batches: Iterable[T]) -> None:
        end = _End()
        try:
            for batch in batches:
                self._slots.acquire()
                if self.stopped:
                    break
                self._steps.put(self._step(batch))
        except BaseException as error:  # noqa: BLE001 — of `batches`; raised in the caller's thread, in its place
            end.error = error
        self._circuit.cancel()
        self._steps.put(end)

    def _step(self, batch: T) -> _Step[T]:
        try:
            if (outage := self._circuit.outage()) is not None:
                return _Step(batch, error=outage)
            return _Step(batch, negatives=self._mined(batch))
        except BaseException as error:  # noqa: BLE001 — raised in the caller's thread, at this step
            return _Step(batch, error=error)

    def _mined(self, batch: T) -> Negatives:
        pipeline = self._mine.pipeline(batch)
        with self._lock:
            self._pipeline = pipeline
            if self.stopped:
                pipeline.cancel()
        try:
            return next(iter(pipeline))
        except NegmineError as error:
            if not self.stopped:
                self._circuit.report(error)
            raise
        finally:
            with self._lock:
                self._pipeline = None
