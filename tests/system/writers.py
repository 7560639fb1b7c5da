"""Two writers that note what they were promised: a trainer with the SDK, and the wire contract without it.

Each owns a range of ids and numbers its steps upwards; versions decide, whatever order things arrive in.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import grpc
import negmine
import numpy as np
from negmine.v1 import index_pb2 as pb
from negmine.v1 import index_pb2_grpc, types_pb2
from numpy.typing import NDArray
from promises import Operation, Promises, embeddings, groups, tags

BATCH_ROWS = 48
LATE_STEPS = 40  # how far back a straggler's step lies
PATIENT = negmine.Retry(resumes_max=100_000, backoff_initial_s=0.02, backoff_max_s=0.2)
BROKEN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}


class Plan:
    """The operations of one writer, seeded: fresh rows, overwrites, deletes, stragglers of old steps."""

    def __init__(self, seed: int, first_id: int, ids: int, *, deletes: bool) -> None:
        self._random = np.random.default_rng(seed)
        self._range = (first_id, first_id + ids)
        self._deletes = deletes
        self._step = 0

    def __iter__(self) -> Iterator[Operation]:
        while True:
            yield self._next()

    def _next(self) -> Operation:
        self._step += 2
        ids = np.unique(self._random.integers(*self._range, BATCH_ROWS))
        if self._deletes and self._random.random() < 0.25:
            return Operation(self._step, ids[: BATCH_ROWS // 2], deletes=True)
        if (
            self._random.random() < 0.15
        ):  # odd steps are stragglers': two of one id may share one, with the same content
            return Operation(max(1, self._step - LATE_STEPS) | 1, ids, deletes=False)
        return Operation(self._step, ids, deletes=False)


class SdkWriter(threading.Thread):
    """A trainer with the SDK: the SDK numbers, resumes and counts; acked rows are the first `result.rows` sent."""

    def __init__(self, target: str, collection: str, plan: Plan, promises: Promises) -> None:
        super().__init__(name="sdk-writer", daemon=True)
        self._address, self._collection, self._plan, self._promises = target, collection, plan, promises
        self._waiting: deque[Operation] = deque()
        self._rows = 0  # acked of those no longer waiting
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.result = negmine.UpsertResult()

    def run(self) -> None:
        try:
            with negmine.Client(self._address, retry=PATIENT, timeout_s=60) as client:
                collection = client.collection(self._collection)
                with collection.writer(window=6, batch_rows=BATCH_ROWS, on_ack=self._on_ack) as writer:
                    for operation in self._plan:
                        if self.stopping.is_set():
                            break
                        self._promises.send(operation)
                        self._waiting.append(operation)
                        ids, step = operation.ids, operation.step
                        writer.send(
                            ids, embeddings(ids, step), step=step, groups=groups(ids, step), tags=tags(ids, step)
                        )
                    self.result = writer.flush()
        except BaseException as failure:  # noqa: BLE001 - `finish` raises it in the test
            self.failure = failure

    def _on_ack(self, result: negmine.UpsertResult) -> None:
        while self._waiting and result.rows >= self._rows + len(self._waiting[0].ids):
            operation = self._waiting.popleft()
            self._rows += len(operation.ids)
            self._promises.ack(operation)

    def finish(self) -> None:
        """Everything sent is acked when this returns."""
        self.stopping.set()
        self.join(60)
        assert not self.is_alive(), "the SDK's writer does not come to its end"
        if self.failure is not None:
            raise self.failure


class RawWriter(threading.Thread):
    """The wire contract without the SDK: numbers its batches, keeps what has no ack, and resends it after a break."""

    WINDOW = 4

    def __init__(self, target: str, collection: str, plan: Plan, promises: Promises) -> None:
        super().__init__(name="raw-writer", daemon=True)
        self._address, self._collection, self._promises = target, collection, promises
        self._plan = iter(plan)
        self._number = 0
        self._unacked: deque[tuple[int, Operation]] = deque()
        self._deleting: Operation | None = None  # waits for the upserts sent before it
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.breaks = 0
        self.duplicates = 0

    def run(self) -> None:
        try:
            while not (self.stopping.is_set() and not self._unacked and self._deleting is None):
                self._connect()
        except BaseException as failure:  # noqa: BLE001 - `finish` raises it in the test
            self.failure = failure

    def finish(self) -> None:
        """Everything sent is acked when this returns."""
        self.stopping.set()
        self.join(60)
        assert not self.is_alive(), "the raw writer does not come to its end"
        if self.failure is not None:
            raise self.failure

    def _connect(self) -> None:
        options = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]
        with grpc.insecure_channel(self._address, [*options, ("grpc.use_local_subchannel_pool", 1)]) as channel:
            try:
                grpc.channel_ready_future(channel).result(1.0)
            except grpc.FutureTimeoutError:
                return
            try:
                self._work(index_pb2_grpc.IndexServiceStub(channel))
            except grpc.RpcError as error:
                if error.code() not in BROKEN:
                    raise
                self.breaks += 1

    def _work(self, stub: index_pb2_grpc.IndexServiceStub) -> None:
        """Runs streams of up to WINDOW batches, with the deletes between them, until the connection breaks."""
        while True:
            if self._deleting is not None and not self._unacked:
                self._send_delete(stub, self._deleting)
            if self.stopping.is_set() and not self._unacked:
                return
            while len(self._unacked) < self.WINDOW and self._deleting is None and not self.stopping.is_set():
                operation = next(self._plan)
                if operation.deletes:
                    self._deleting = operation
                    break
                self._number += 1
                self._unacked.append((self._number, operation))
            self._stream(stub)

    def _stream(self, stub: index_pb2_grpc.IndexServiceStub) -> None:
        start = pb.UpsertStart(collection=self._collection, writer_id="raw")
        requests = [pb.UpsertRequest(start=start)]
        for number, operation in self._unacked:
            self._promises.send(operation)
            requests.append(pb.UpsertRequest(batch=batch(number, operation)))
        for response in stub.Upsert(iter(requests), timeout=30):
            if response.WhichOneof("message") == "ready":
                continue
            number, operation = self._unacked[0]
            assert response.ack.number == number, f"batch {response.ack.number} was acked, {number} waits"
            assert not response.ack.HasField("applied"), "acked in part"
            self.duplicates += response.ack.duplicate
            self._promises.ack(operation)
            self._unacked.popleft()
        assert not self._unacked, "the stream ended well with batches that have no ack"

    def _send_delete(self, stub: index_pb2_grpc.IndexServiceStub, operation: Operation) -> None:
        self._promises.send(operation)
        version = types_pb2.Version(step=operation.step)
        request = pb.DeleteRequest(collection=self._collection, ids=tensor(operation.ids), version=version)
        stub.Delete(request, timeout=30)
        self._promises.ack(operation)
        self._deleting = None


def batch(number: int, operation: Operation) -> pb.UpsertBatch:
    ids, step = operation.ids, operation.step
    return pb.UpsertBatch(
        number=number,
        ids=tensor(ids),
        embeddings=tensor(embeddings(ids, step)),
        version=types_pb2.Version(step=step),
        groups=tensor(groups(ids, step)),
        tags=tensor(tags(ids, step)),
    )


def tensor(array: NDArray[np.generic]) -> types_pb2.Tensor:
    dtype = {"f": types_pb2.DATA_TYPE_FLOAT32, "i": types_pb2.DATA_TYPE_INT64, "u": types_pb2.DATA_TYPE_UINT64}
    return types_pb2.Tensor(dtype=dtype[array.dtype.kind], shape=array.shape, data=array.tobytes())
