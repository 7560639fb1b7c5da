"""Mines for the next batches while the current one trains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Literal, Self, TypeVar

from negmine._collection import Collection
from negmine._exceptions import InvalidInput, NegmineError
from negmine._mining import PARTS_IN_FLIGHT, MinePipeline
from negmine._options import MineArgs
from negmine._results import Negatives

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Iterates over (batch, negatives), mining for the batches ahead on a thread of its own.

        for batch, negatives in negmine.Prefetcher(collection, loader, lambda batch: {"anchors": batch.x, "k": 16}):
            train(batch, negatives)

    The order of `batches` is kept. An error, of the server or of `batches` and `anchors` themselves, is raised at the
    step it belongs to. The thread ends with the iteration, however that ends; `close` or leaving a `with` block ends it
    earlier.

    Args:
        collection: to mine in.
        batches: read on the thread.
        anchors: the arguments of `Collection.mine` for a batch; called on the thread, at most `depth` batches ahead of
            the training step.
        depth: batches that are mined ahead, at least 1.
        on_error: "raise", or a function on the caller's thread that gives the negatives of a batch for which mining
            failed, or raises.

    Raises:
        InvalidInput: depth is less than 1.
    """

    def __init__(
        self,
        collection: Collection,
        batches: Iterable[T],
        anchors: Callable[[T], MineArgs],
        *,
        depth: int = 2,
        on_error: Literal["raise"] | Callable[[T, NegmineError], Negatives] = "raise",
    ) -> None:
        if depth < 1:
            raise InvalidInput(f"depth is {depth}; expected at least 1", field="depth")
        self._collection = collection
        self._batches = batches
        self._anchors = anchors
        self._depth = depth
        self._on_error = on_error
        self._runs: list[_Run[T]] = []

    def __iter__(self) -> Iterator[tuple[T, Negatives]]:
        run = _Run(self._collection, self._batches, self._anchors, self._depth)
        self._runs.append(run)
        try:
            while (step := run.take()) is not None:
                yield step.batch, self._settled(step)
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

    def _settled(self, step: _Step[T]) -> Negatives:
        if step.negatives is not None:
            return step.negatives
        assert step.error is not None
        if self._on_error == "raise" or not isinstance(step.error, NegmineError):
            raise step.error
        return self._on_error(step.batch, step.error)


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

    def __init__(
        self, collection: Collection, batches: Iterable[T], anchors: Callable[[T], MineArgs], depth: int
    ) -> None:
        self._collection = collection
        self._anchors = anchors
        self._slots: Final = threading.Semaphore(depth)
        self._steps: queue.SimpleQueue[_Step[T] | _End] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
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
            self._stopped = True
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
                if self._stopped:
                    break
                self._steps.put(self._mine(batch))
        except BaseException as error:  # noqa: BLE001 — of `batches`; raised in the caller's thread, in its place
            end.error = error
        self._steps.put(end)

    def _mine(self, batch: T) -> _Step[T]:
        try:
            pipeline = self._collection._pipeline([self._anchors(batch)], PARTS_IN_FLIGHT)
            with self._lock:
                self._pipeline = pipeline
                if self._stopped:
                    pipeline.cancel()
            return _Step(batch, negatives=next(iter(pipeline)))
        except BaseException as error:  # noqa: BLE001 — raised in the caller's thread, at this step
            return _Step(batch, error=error)
        finally:
            with self._lock:
                self._pipeline = None
