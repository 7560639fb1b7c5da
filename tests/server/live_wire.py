"""The wire as it is: raw stubs over a real channel, tensors made by hand, and errors taken apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from negmine.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    index_pb2,
    index_pb2_grpc,
    mining_pb2,
    mining_pb2_grpc,
    types_pb2,
)
from numpy.typing import ArrayLike, NDArray

TIMEOUT_S = 30
_DTYPES = {
    "float32": types_pb2.DATA_TYPE_FLOAT32,
    "float16": types_pb2.DATA_TYPE_FLOAT16,
    "int8": types_pb2.DATA_TYPE_INT8,
    "int32": types_pb2.DATA_TYPE_INT32,
    "int64": types_pb2.DATA_TYPE_INT64,
    "uint8": types_pb2.DATA_TYPE_UINT8,
    "uint64": types_pb2.DATA_TYPE_UINT64,
}
_NAMES = {number: name for name, number in _DTYPES.items()}
_BIG = (("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20))
_NUMBERS = itertools.count()


def tensor(values: ArrayLike, dtype: str) -> types_pb2.Tensor:
    made = np.asarray(values, dtype)
    return types_pb2.Tensor(dtype=_DTYPES[dtype], shape=made.shape, data=made.tobytes())


def array(message: types_pb2.Tensor) -> NDArray[Any]:
    return np.frombuffer(message.data, _NAMES[message.dtype]).reshape(tuple(message.shape))


def unit(rows: NDArray[Any]) -> NDArray[Any]:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def vectors(count: int, dimension: int, seed: int = 0) -> NDArray[Any]:
    """Random embeddings, float32."""
    return np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)


def batch(
    ids: ArrayLike,
    embeddings: ArrayLike | None = None,
    *,
    codes: types_pb2.Codes | None = None,
    step: int = 0,
    generation: int | None = None,
    number: int = 0,
    groups: ArrayLike | None = None,
    tags: ArrayLike | None = None,
    uncertainties: ArrayLike | None = None,
) -> index_pb2.UpsertBatch:
    return index_pb2.UpsertBatch(
        number=number,
        ids=tensor(ids, "int64"),
        embeddings=None if embeddings is None else tensor(embeddings, "float32"),
        codes=codes,
        version=types_pb2.Version(generation=generation, step=step),
        groups=None if groups is None else tensor(groups, "int64"),
        tags=None if tags is None else tensor(tags, "uint64"),
        uncertainties=None if uncertainties is None else tensor(uncertainties, "float32"),
    )


@dataclass(frozen=True)
class Refusal:
    """An error status, taken apart."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    field: str
    retry_ms: int
    pushback: str | None


def refusal_of(error: grpc.RpcError) -> Refusal:
    assert isinstance(error, grpc.Call)
    details: dict[str, Any] = {}
    status = rpc_status.from_call(error)
    for packed in status.details if status is not None else ():
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                message = details[kind.DESCRIPTOR.name] = kind()
                packed.Unpack(message)
    info = details.get("ErrorInfo", error_details_pb2.ErrorInfo())
    violations = details["BadRequest"].field_violations if "BadRequest" in details else []
    retry = details["RetryInfo"].retry_delay.ToMilliseconds() if "RetryInfo" in details else 0
    pushback = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    field = violations[0].field if violations else ""
    return Refusal(error.code(), error.details() or "", info.reason, info.domain, field, retry, pushback)


def refusal(call: Callable[[], Any]) -> Refusal:
    """The error that a call ends with."""
    try:
        answer = call()
    except grpc.RpcError as error:
        return refusal_of(error)
    raise AssertionError(f"expected an error, received {answer}")


class Wire:
    """Stubs of every service on one channel."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_BIG)
        self.mining = mining_pb2_grpc.MiningServiceStub(self.channel)
        self.index = index_pb2_grpc.IndexServiceStub(self.channel)
        self.collections = collection_pb2_grpc.CollectionServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def check_serving(self) -> None:
        reply = self.health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
        name = self.create(dimension=4)
        assert self.upsert(name, batch([1], [[1, 0, 0, 0]]))[0].inserted == 1
        assert array(self.mine(name, [[1, 1, 0, 0]], 1).ids).tolist() == [[1]]
        self.collections.DropCollection(collection_pb2.DropCollectionRequest(collection=name), timeout=TIMEOUT_S)

    def create(self, name: str = "", *, exist_ok: bool = False, **spec: Any) -> str:
        """A collection, of 8 dimensions and 64 bits if the spec says nothing; returns its name."""
        name = name or f"test-{next(_NUMBERS)}"
        wanted = collection_pb2.CollectionSpec(**{"dimension": 8, "bits": 64, **spec})
        request = collection_pb2.CreateCollectionRequest(name=name, spec=wanted, exist_ok=exist_ok)
        self.collections.CreateCollection(request, timeout=TIMEOUT_S)
        return name

    def get(self, name: str) -> collection_pb2.CollectionInfo:
        request = collection_pb2.GetCollectionRequest(collection=name)
        return self.collections.GetCollection(request, timeout=TIMEOUT_S).collection

    def stream(self, requests: Iterable[index_pb2.UpsertRequest], timeout: float = TIMEOUT_S) -> Any:
        return self.index.Upsert(iter(requests), timeout=timeout)

    def upsert(self, name: str, *batches: index_pb2.UpsertBatch, writer: str = "") -> list[index_pb2.UpsertAck]:
        """Streams batches and returns their acks."""
        answers: Iterator[index_pb2.UpsertResponse] = self.stream(upserts(name, *batches, writer=writer))
        next(answers)
        return [answer.ack for answer in answers]

    def delete(self, name: str, ids: ArrayLike, **fields: Any) -> index_pb2.DeleteResponse:
        request = index_pb2.DeleteRequest(collection=name, ids=tensor(ids, "int64"), **fields)
        return self.index.Delete(request, timeout=TIMEOUT_S)

    def fetch(self, name: str, ids: ArrayLike, **fields: Any) -> index_pb2.FetchResponse:
        request = index_pb2.FetchRequest(collection=name, ids=tensor(ids, "int64"), **fields)
        return self.index.Fetch(request, timeout=TIMEOUT_S)

    def found(self, name: str, ids: ArrayLike) -> list[int]:
        """Which of the ids are there."""
        return np.asarray(ids)[array(self.fetch(name, ids).found) == 1].tolist()

    def mine(self, name: str, anchors: ArrayLike, k: int, **fields: Any) -> mining_pb2.MineResponse:
        return self.mining.Mine(mining(name, anchors, k, **fields), timeout=TIMEOUT_S)


def upserts(name: str, *batches: index_pb2.UpsertBatch, writer: str = "") -> list[index_pb2.UpsertRequest]:
    """The messages of an upsert stream."""
    start = index_pb2.UpsertStart(collection=name, writer_id=writer)
    return [index_pb2.UpsertRequest(start=start), *(index_pb2.UpsertRequest(batch=item) for item in batches)]


def mining(name: str, anchors: ArrayLike, k: int, **fields: Any) -> mining_pb2.MineRequest:
    return mining_pb2.MineRequest(collection=name, embeddings=tensor(anchors, "float32"), k=k, **fields)
