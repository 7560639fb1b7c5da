"""What an upsert stream has sent and what is acked: the state behind both writers. Does no I/O itself."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from negmine import _arrays, _replies
from negmine._calls import version_of
from negmine._encoding import Codes
from negmine._exceptions import Aborted, Internal, InvalidInput, NegmineError, Unavailable
from negmine._requests import codes_message
from negmine._results import UpsertProgress, UpsertResult
from negmine._settings import Retry
from negmine.v1 import index_pb2, types_pb2

# Measured over loopback at 384 dimensions: fewer or smaller batches in flight are slower, more are not faster.
WINDOW: Final = 4  # batches that may wait for their acks
BATCH_BYTES: Final = 4_500_000  # a batch's size where its rows are not given


@dataclass(frozen=True, slots=True)
class Plan:
    """How a writer sends.

    Attributes:
        collection: collection or alias.
        window: batches that may wait for their acks; the server's bound holds too.
        batch_rows: rows a batch; None = by size.
    """

    collection: str
    window: int = WINDOW
    batch_rows: int | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise InvalidInput(f"window is {self.window}; expected at least 1", field="window")
        if self.batch_rows is not None and self.batch_rows < 1:
            raise InvalidInput(f"batch_rows is {self.batch_rows}; expected at least 1", field="batch_rows")


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """n items, checked and converted."""

    ids: _arrays.I64
    items: _arrays.Embeddings | Codes
    version: types_pb2.Version
    groups: _arrays.I64 | None
    tags: _arrays.U64 | None
    uncertainties: _arrays.F32 | None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def row_bytes(self) -> int:
        """Bytes of a row on the wire."""
        beside = 8 + 8 * (self.groups is not None) + 8 * (self.tags is not None) + 4 * (self.uncertainties is not None)
        if isinstance(self.items, Codes):
            return beside + int(self.items.words.shape[1]) * 8 + 8
        return beside + self.items.row_bytes

    def request(self, rows: slice) -> index_pb2.UpsertRequest:
        """Some of the rows as they travel, not numbered yet."""
        request = index_pb2.UpsertRequest()
        batch = request.batch
        batch.version.CopyFrom(self.version)
        _arrays.fill(batch.ids, self.ids[rows])
        part = self.items[rows]
        if isinstance(part, Codes):
            batch.codes.CopyFrom(codes_message(part))
        else:
            part.fill(batch.embeddings)
        if self.groups is not None:
            _arrays.fill(batch.groups, self.groups[rows])
        if self.tags is not None:
            _arrays.fill(batch.tags, self.tags[rows])
        if self.uncertainties is not None:
            _arrays.fill(batch.uncertainties, self.uncertainties[rows])
        return request


def items(ids: Any, given: Any, step: int, generation: int | None, groups: Any, tags: Any, uncertainties: Any) -> Items:
    """Checks and converts the arguments of one upsert.

    Raises:
        InvalidInput: a shape or type is wrong, or an id is negative.
    """
    made = given if isinstance(given, Codes) else _arrays.to_embeddings(given, "embeddings")
    numbers = _arrays.to_ids(ids, "ids", len(made))
    negative = np.flatnonzero(numbers < 0)
    if negative.size:
        raise InvalidInput(f"ids[{negative[0]}] is {numbers[negative[0]]}; expected at least 0", field="ids")
    tagged = (
        None
        if tags is None
        else np.ascontiguousarray(np.broadcast_to(_arrays.to_tags(tags, "tags", len(made)), len(made)))
    )
    return Items(
        ids=numbers,
        items=made,
        version=version_of(step, generation),
        groups=None if groups is None else _arrays.to_ids(groups, "groups", len(made)),
        tags=tagged,
        uncertainties=None if uncertainties is None else _arrays.to_floats(uncertainties, "uncertainties", len(made)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A batch that waits for its ack."""

    number: int
    rows: int
    request: index_pb2.UpsertRequest


class Outbox:
    """Batches in the order sent, from the first without an ack. Not safe between threads: a writer guards it.

    The rule of the stream: after a broken connection, open again with the same writer id and send from the first batch
    without an ack; what the server had applied is acked again and not applied twice.
    """

    def __init__(self, plan: Plan, retry: Retry, message_bytes_max: int) -> None:
        self.window = plan.window
        self.result = UpsertResult()
        self.ready = False  # on the connection that is open now
        self._plan = plan
        self._retry = retry
        self._message_bytes_max = message_bytes_max
        self._collection = plan.collection
        self._writer = uuid.uuid4().hex
        self._waiting: deque[Sent] = deque()
        self._next = 1
        self._rows_sent = 0
        self._rows_max = 0  # rows that the server takes in a batch; 0 = it has not said
        self._failures = 0  # in a row, without any progress between them
        self._applied: np.ndarray[Any, np.dtype[np.bool_]] | None = None

    @property
    def waiting(self) -> int:
        """Batches without an ack."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self.window

    def start(self) -> index_pb2.UpsertRequest:
        """The first message of a connection."""
        self.ready = False
        return index_pb2.UpsertRequest(start=index_pb2.UpsertStart(collection=self._collection, writer_id=self._writer))

    def cut(self, held: Items) -> Iterator[slice]:
        """Runs of rows, each one batch. Only after the server's first `ready`, which names its limit."""
        rows = self._plan.batch_rows or max(1, BATCH_BYTES // held.row_bytes)
        rows = min(rows, max(1, (self._message_bytes_max - 64 * 1024) // held.row_bytes))
        if self._rows_max:
            rows = min(rows, self._rows_max)
        for first in range(0, len(held), rows):
            yield slice(first, min(first + rows, len(held)))

    def put(self, request: index_pb2.UpsertRequest, rows: int) -> None:
        """Numbers a batch and lines it up."""
        request.batch.number = self._next
        self._waiting.append(Sent(self._next, rows, request))
        self._next += 1
        self._rows_sent += rows

    def after(self, number: int) -> Sent | None:
        """The first waiting batch with a higher number, once the server is ready for it."""
        if not self.ready or not self._waiting or self._waiting[-1].number <= number:
            return None
        return self._waiting[max(0, number + 1 - self._waiting[0].number)]

    def receive(self, message: index_pb2.UpsertResponse) -> bool:
        """Takes in an answer; whether rows were acked.

        Raises:
            Internal: an ack that no batch waits for.
        """
        if message.WhichOneof("message") == "ready":
            self._open(message.ready)
            return False
        ack = message.ack
        if not self._waiting or ack.number != self._waiting[0].number:
            expected = self._waiting[0].number if self._waiting else "none"
            raise Internal(f"the server acked batch {ack.number}; expected {expected}")
        if ack.HasField("applied"):  # in part: the stream ends with the error, and the batch is sent again or given up
            self._applied = _arrays.array(ack.applied, "uint8").astype(np.bool_)
            return False
        sent = self._waiting.popleft()
        self.result = _added(self.result, _replies.ack(ack, sent.rows))
        self._failures, self._applied = 0, None
        return True

    def fail(self, error: NegmineError) -> float:
        """Seconds to wait before the connection is opened again.

        Raises:
            NegmineError: the error itself with `progress`, where trying again is of no use or was tried enough.
        """
        self.ready = False
        self._failures += 1
        worth = isinstance(error, Unavailable | Aborted) or error.retry_after_s is not None
        if worth and self._failures <= self._retry.resumes_max:
            return self._retry.delay_s(self._failures, error.retry_after_s)
        raise self.blame(error)

    def blame(self, error: NegmineError) -> NegmineError:
        """The error with what is in the collection."""
        error.progress = UpsertProgress(self.result, self._rows_sent, self._applied)
        error.add_note(
            f"{self.result.rows} of {self._rows_sent} rows sent are acked; {self._failures} tries in a row failed"
        )
        return error

    def _open(self, ready: index_pb2.UpsertReady) -> None:
        self.ready = True
        self._collection = ready.collection or self._collection  # a resumed stream stays with it if an alias moves
        self._rows_max = ready.batch_rows_max
        if ready.window:
            self.window = min(self._plan.window, ready.window)


def _added(total: UpsertResult, more: UpsertResult) -> UpsertResult:
    mark = more.watermark
    if mark is not None and total.watermark is not None:
        mark = total.watermark.merge(mark)
    return UpsertResult(
        total.inserted + more.inserted,
        total.overwritten + more.overwritten,
        total.stale + more.stale,
        total.duplicate + more.duplicate,
        mark,
    )
