"""The write-ahead log of one shard: dense sequence numbers, one immutable object per group commit.

Object `prefix/log/<sequence>` is created put-if-absent by the log's owner, which is known by a random token; up to
`window` creates are in flight.

1. *Acknowledge.* Record n is acknowledged when its owner has created every slot up to n.
2. *Fence.* Whoever takes over walks the contiguous slots and creates a fence in the first free one, f. The previous
   owner can never create f, so it never acknowledges f or anything after it: records before f are replayed, those
   after it that carry its token are ignored. The old owner's creates in flight end at f + window - 1, so the new
   owner fills the slots up to there, in order, with fences, and its first record is f + window (the largest window of
   any owner so far). Meeting another's fence there means that someone took over later: Fenced.
3. *Fenced.* A create that finds its slot taken reads it back. The same bytes: the reply to our own create was lost.
   Anything else: another owner is there, and this log fails for good.
4. *Doubt.* When a create fails otherwise, it and every later record fail, and the log is broken: whether those records
   exist is decided by the next takeover, also by the same process, which replays what precedes its fence.
5. *Torn tail.* Unreadable records with nothing readable after them are dropped, reported, and named in the fence, so
   that later replays forgive these and no others. An unreadable or missing record elsewhere is DataLoss.
6. *Trim.* Fences and the slots they fill are never deleted: these are the slots where a stale owner's create can land.
   `marks.py` tells how a stale create elsewhere is kept from being mistaken for a record.
"""

from __future__ import annotations

import copy
import math
import secrets
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait

from negmine_server.errors import Fenced, NegmineError, Overloaded, StorageFailed
from negmine_server.storage.marks import Mark, create_or_read, log_key, place_mark, sequence_of
from negmine_server.storage.objects import Buffer, Objects
from negmine_server.storage.records import TOKEN_BYTES, Kind, encode_frame
from negmine_server.storage.takeover import LogGap, Replayed, Taken, replay, take

__all__ = ["Log", "LogGap", "Replayed", "begin_log"]

WINDOW_MAX = 64


class Log:
    """An owned log. `submit` and `trim` may be called from any thread; futures resolve in order of sequence."""

    def __init__(
        self,
        objects: Objects,
        prefix: str,
        taken: Taken,
        window: int,
        pool: Executor | None,
        observe_fsync: Callable[[float], None] | None,
    ) -> None:
        """Use `take_over`."""
        self._objects = objects
        self._prefix = prefix
        self._taken = taken
        self._window = window
        self._own_pool = ThreadPoolExecutor(window, thread_name_prefix="log") if pool is None else None
        self._pool = self._own_pool or pool
        self._observe_fsync = observe_fsync
        self._lock = threading.Lock()
        self._acked = taken.owner.zone[-1]
        self._waiting: deque[Future[int]] = deque()  # of _acked + 1, _acked + 2, ...
        self._created: dict[int, int] = {}  # sequence -> bytes, of slots that wait for an earlier one
        self._failed_from: float = math.inf  # sequence of the first record that failed
        self._ready: deque[tuple[Future[int], int | None]] = deque()  # acknowledged, or failed (None); not yet told
        self._telling = False
        self._error: NegmineError | None = None
        self._closed = False
        self._sequences: list[int] = []  # of known records, with the bytes up to and including each
        self._bytes: list[int] = []
        for sequence, _, size in taken.replay:
            self._account(sequence, size)

    @classmethod
    def take_over(
        cls,
        objects: Objects,
        prefix: str,
        *,
        after: int,
        window: int = 8,
        token: bytes | None = None,
        pool: Executor | None = None,
        observe_fsync: Callable[[float], None] | None = None,
    ) -> tuple[Log, Iterator[Replayed]]:
        """Becomes the log's owner. `after` is the last sequence that the caller's state holds (0 = none).

        Returns the log and the records after `after`, in order; they are read as the iterator advances, which may
        raise LogGap too. `pool` runs the creates (default: one thread per slot of the window); `observe_fsync` gets the
        seconds of each. Raises Fenced (another takeover came later: take over again, or leave it the log), LogGap
        (reload the newest snapshot and try again), DataLoss, NotReady (newer format), StorageFull, StorageFailed.
        """
        assert 1 <= window <= WINDOW_MAX, f"window {window}"
        assert after >= 0, f"after {after}"
        taken = take(objects, prefix, after, window, token or secrets.token_bytes(TOKEN_BYTES))
        return cls(objects, prefix, taken, window, pool, observe_fsync), replay(objects, prefix, taken)

    @property
    def token(self) -> bytes:
        return self._taken.owner.token

    @property
    def next_sequence(self) -> int:
        """The sequence that the next `submit` gets."""
        with self._lock:
            return self._acked + len(self._waiting) + 1

    @property
    def acked(self) -> int:
        """The highest acknowledged sequence; after a takeover, the last slot filled with fences."""
        with self._lock:
            return self._acked

    @property
    def in_flight(self) -> int:
        """Submits that are not resolved, at most `window`."""
        with self._lock:
            return len(self._waiting)

    @property
    def window(self) -> int:
        return self._window

    @property
    def error(self) -> NegmineError | None:
        """Why the log is broken (take over again) or Fenced; None while it works."""
        with self._lock:
            return self._error

    @property
    def dropped(self) -> tuple[int, ...]:
        """Sequences of the torn tail that this takeover dropped."""
        return self._taken.dropped

    def bytes_since(self, sequence: int) -> int:
        """Bytes of the replayed and acknowledged records after `sequence`: what a replay from there would read."""
        with self._lock:
            index = bisect_right(self._sequences, sequence)
            before = self._bytes[index - 1] if index else 0
            return self._bytes[-1] - before if index < len(self._bytes) else 0

    def submit(self, payloads: Sequence[Buffer]) -> Future[int]:
        """Appends one record object with these payloads; they must not change until the future resolves.

        The future gives the sequence once everything up to it is durable, or raises what `error` then says. Callbacks
        run on the pool's threads, one at a time, in order of sequence, failures too. Raises at once Overloaded when
        `window` submits are in flight, Fenced, or the error that broke the log.
        """
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # a record on its way cannot be called back
        with self._lock:
            if self._error is not None:
                raise copy.copy(self._error)
            if self._closed:
                raise StorageFailed(f"{self._prefix}: the log is closed")
            if len(self._waiting) >= self._window:
                raise Overloaded(f"{self._prefix}: {self._window} records in flight", reason="LOG_WINDOW_FULL")
            self._waiting.append(future)
            sequence = self._acked + len(self._waiting)
            assert self._pool is not None
            self._pool.submit(self._write, sequence, payloads)
        return future

    def trim(self, through: int) -> int:
        """Deletes records up to `through`, which a durable snapshot must hold; returns how many.

        Does nothing below the last trim, and never goes beyond what is acknowledged.
        """
        through = min(through, self.acked)
        taken = self._taken
        if through <= taken.mark.through:
            return 0
        token = taken.mark.owner
        kept = set(taken.mark.kept)
        for owner in taken.owners:
            if owner.first <= through:
                token = owner.token
                kept.add((owner.first, owner.fill))
        place_mark(self._objects, self._prefix, Mark(through, token, tuple(sorted(kept))))
        protected = {sequence for first, fill in kept for sequence in range(first, first + fill)}
        keys = [info.key for info in self._objects.list(f"{self._prefix}/log/")]
        doomed = [key for key in keys if (slot := sequence_of(key)) <= through and slot not in protected]
        self._objects.delete(doomed)
        self._forget(through)
        return len(doomed)

    def close(self) -> None:
        """Refuses further submits and waits for those in flight. The log stays ours until somebody takes it over."""
        with self._lock:
            self._closed = True
            waiting = list(self._waiting)
        wait(waiting)
        if self._own_pool is not None:
            self._own_pool.shutdown()

    def _write(self, sequence: int, payloads: Sequence[Buffer]) -> None:
        key = log_key(self._prefix, sequence)
        try:
            if self._hopeless(sequence):
                return
            data = b"".join(encode_frame(Kind.DATA, sequence, self.token, payloads))
            started = time.perf_counter()
            found = create_or_read(self._objects, key, data)
            if self._observe_fsync is not None:
                self._observe_fsync(time.perf_counter() - started)
        except NegmineError as error:
            self._settle(sequence, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the future must resolve
            self._settle(sequence, StorageFailed(f"{key}: {error!r}"))
        else:
            self._settle(sequence, len(data) if found is None else Fenced(f"{key}: another owner took over the log"))

    def _hopeless(self, sequence: int) -> bool:
        with self._lock:
            return sequence >= self._failed_from

    def _settle(self, sequence: int, outcome: int | NegmineError) -> None:
        """Notes a create's size in bytes or its error, and resolves what that decides.

        A failure waits for the records before it, so that whoever sees it knows what was acknowledged.
        """
        with self._lock:
            if isinstance(outcome, int):
                self._created[sequence] = outcome
            else:
                self._failed_from = min(self._failed_from, sequence)
                if self._error is None or isinstance(outcome, Fenced):
                    self._error = outcome
            while self._acked + 1 < self._failed_from and self._acked + 1 in self._created:
                self._acked += 1
                self._account(self._acked, self._created.pop(self._acked))
                self._ready.append((self._waiting.popleft(), self._acked))
            if self._acked + 1 == self._failed_from:
                self._ready.extend((future, None) for future in self._waiting)
                self._waiting.clear()
        self._tell()

    def _tell(self) -> None:
        """Resolves what is ready, by one thread at a time and outside the lock, so that callbacks run in order."""
        while True:
            with self._lock:
                if self._telling or not self._ready:
                    return
                self._telling = True
                batch = list(self._ready)
                self._ready.clear()
                error = self._error
            for future, sequence in batch:
                if sequence is not None:
                    future.set_result(sequence)
                else:
                    future.set_exception(copy.copy(error))
            with self._lock:
                self._telling = False

    def _account(self, sequence: int, size: int) -> None:
        self._sequences.append(sequence)
        self._bytes.append((self._bytes[-1] if self._bytes else 0) + size)

    def _forget(self, through: int) -> None:
        with self._lock:
            index = bisect_right(self._sequences, through)
            trimmed = self._bytes[index - 1] if index else 0
            self._sequences = self._sequences[index:]
            self._bytes = [size - trimmed for size in self._bytes[index:]]


def begin_log(objects: Objects, prefix: str, after: int) -> None:
    """Makes an empty log whose first record comes after `after`, for a snapshot that was written elsewhere."""
    place_mark(objects, prefix, Mark(after, secrets.token_bytes(TOKEN_BYTES)))
