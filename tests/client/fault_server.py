"""A small server of the real stubs that misbehaves on request, over real sockets, with a proxy that cuts connections.

It keeps items in a dictionary and mines by brute force, so that answers can be checked; what it is for is what a good
server never does: losing acks, failing half-way, hanging, answering nonsense.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from cut_proxy import CutProxy
from fault_wire import brute_explanation, brute_force, read, status, write
from google.rpc import status_pb2
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

MIB = 1 << 20


@dataclass
class Faults:
    """What goes wrong. Each list is used up from the front."""

    fail: dict[str, deque[status_pb2.Status]] = field(default_factory=dict)  # by method
    # For each batch that arrives: apply, lose (apply, then fail unacked), break (fail before), partial, hang, nonsense
    upserts: deque[str | status_pb2.Status] = field(default_factory=deque)
    window: int = 16
    batch_rows_max: int = 100_000
    anchors_max: int = 4096
    message_bytes_max: int = 64 * MIB
    state: int = collection_pb2.SERVING_STATE_SERVING

    def next_failure(self, method: str) -> status_pb2.Status | None:
        waiting = self.fail.get(method)
        return waiting.popleft() if waiting else None


@dataclass
class Store:
    """What is in, and what was seen."""

    items: dict[int, tuple[int, np.ndarray, int, int]] = field(default_factory=dict)  # step, vector, group, tags
    writers: dict[str, int] = field(default_factory=dict)
    sequence: int = 0
    applied_rows: list[int] = field(default_factory=list)  # rows of each batch, in the order applied
    connections: int = 0  # upsert streams opened
    calls: dict[str, int] = field(default_factory=dict)
    batches: list[index_pb2.UpsertBatch] = field(default_factory=list)
    mined: list[mining_pb2.MineRequest] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    incarnations: deque[str] = field(default_factory=deque)  # of the answers to come

    def watermark(self) -> types_pb2.Watermark:
        incarnation = self.incarnations.popleft() if self.incarnations else "one"
        return types_pb2.Watermark(incarnation=incarnation, epoch=1, sequences=[self.sequence])

    def apply(self, batch: index_pb2.UpsertBatch) -> index_pb2.UpsertAck:
        ids, step = read(batch.ids), batch.version.step
        vectors = read(batch.embeddings) if batch.HasField("embeddings") else np.zeros((len(ids), 1), np.float32)
        groups = read(batch.groups) if batch.HasField("groups") else np.full(len(ids), -1)
        tags = read(batch.tags) if batch.HasField("tags") else np.zeros(len(ids), np.uint64)
        ack = index_pb2.UpsertAck(number=batch.number)
        for row, id_ in enumerate(ids.tolist()):
            there = self.items.get(id_)
            if there is not None and there[0] > step:
                ack.stale += 1
                continue
            ack.inserted += there is None
            ack.overwritten += there is not None
            self.items[id_] = (step, vectors[row], int(groups[row]), int(tags[row]))
        self.sequence += 1
        self.applied_rows.append(len(ids))
        ack.watermark.CopyFrom(self.watermark())
        return ack


class Service(
    collection_pb2_grpc.CollectionServiceServicer,
    index_pb2_grpc.IndexServiceServicer,
    mining_pb2_grpc.MiningServiceServicer,
):
    """The three services over one store."""

    def __init__(self, faults: Faults, store: Store) -> None:
        self.faults = faults
        self.store = store
        self.gate = asyncio.Event()  # closed: acks, mine answers and descriptions wait
        self.gate.set()
        self.arrived = threading.Condition()  # something was counted in the store
        self.features = ["policy.top", "explain"]

    async def _enter(self, method: str, context: Any) -> None:
        self.store.metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        with self.arrived:
            self.store.calls[method] = self.store.calls.get(method, 0) + 1
            self.arrived.notify_all()
        if (failure := self.faults.next_failure(method)) is not None:
            await context.abort_with_status(rpc_status.to_status(failure))

    async def GetServerInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._enter("GetServerInfo", context)
        limits = collection_pb2.Limits(
            message_bytes_max=self.faults.message_bytes_max,
            anchors_max=self.faults.anchors_max,
            batch_rows_max=self.faults.batch_rows_max,
            upsert_window=self.faults.window,
        )
        return collection_pb2.GetServerInfoResponse(version="0", limits=limits, features=self.features, backend="cpu")

    async def GetCollection(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._enter("GetCollection", context)
        await self.gate.wait()
        described = collection_pb2.CollectionInfo(name=request.collection, state=self.faults.state)
        return collection_pb2.GetCollectionResponse(collection=described)

    async def StartGeneration(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._enter("StartGeneration", context)
        return collection_pb2.StartGenerationResponse(generation=1)

    async def Delete(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._enter("Delete", context)
        gone = [self.store.items.pop(id_, None) is not None for id_ in read(request.ids).tolist()]
        self.store.sequence += 1
        return index_pb2.DeleteResponse(deleted=sum(gone), watermark=self.store.watermark())

    async def Mine(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._enter("Mine", context)
        self.store.mined.append(request)
        await self.gate.wait()
        return brute_force(request, self.store)

    async def Explain(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._enter("Explain", context)
        return brute_explanation(request, self.store)

    async def Upsert(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.store.connections += 1
        await self._enter("Upsert", context)
        start = (await anext(requests)).start
        yield index_pb2.UpsertResponse(
            ready=index_pb2.UpsertReady(
                window=self.faults.window,
                batch_rows_max=self.faults.batch_rows_max,
                collection=start.collection,
                watermark=self.store.watermark(),
            )
        )
        async for message in requests:
            with self.arrived:
                self.store.batches.append(message.batch)
                self.arrived.notify_all()
            yield index_pb2.UpsertResponse(ack=await self._settle(message.batch, start.writer_id, context))
            if self.partly:
                await context.abort_with_status(rpc_status.to_status(self.partly))

    partly: status_pb2.Status | None = None

    async def _settle(self, batch: Any, writer: str, context: Any) -> index_pb2.UpsertAck:
        self.partly = None
        action = self.faults.upserts.popleft() if self.faults.upserts else "apply"
        if isinstance(action, status_pb2.Status):
            await context.abort_with_status(rpc_status.to_status(action))
        if action == "hang":
            await asyncio.Event().wait()
        if action == "break":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken before it was applied")
        if action == "nonsense":
            return index_pb2.UpsertAck(number=batch.number + 1000)
        if action == "partial":
            self.partly = status(grpc.StatusCode.RESOURCE_EXHAUSTED, "no room in shard 1", "STORAGE_FULL")
            applied = np.arange(len(read(batch.ids))) % 2
            return index_pb2.UpsertAck(number=batch.number, applied=write(applied.astype(np.uint8)))
        if batch.number <= self.store.writers.get(writer, 0):
            ack = index_pb2.UpsertAck(number=batch.number, duplicate=True, watermark=self.store.watermark())
        else:
            ack = self.store.apply(batch)
            self.store.writers[writer] = batch.number
        if action == "lose":
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken after it was applied")
        await self.gate.wait()
        return ack


class FaultServer:
    """Runs the service and its proxy in an event loop on a thread; `target` goes through the proxy."""

    def __init__(self, credentials: Any | None = None) -> None:
        self.faults = Faults()
        self.store = Store()
        self._credentials = credentials
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the server's loop."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(30)

    async def _start(self) -> None:
        self.service = Service(self.faults, self.store)
        limits = [("grpc.max_send_message_length", 64 * MIB), ("grpc.max_receive_message_length", 64 * MIB)]
        self.server = grpc.aio.server(options=limits)
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(self.service, self.server)
        index_pb2_grpc.add_IndexServiceServicer_to_server(self.service, self.server)
        mining_pb2_grpc.add_MiningServiceServicer_to_server(self.service, self.server)
        if self._credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", self._credentials)
        await self.server.start()
        self.proxy = CutProxy(self.port)
        await self.proxy.start()
        self.target = f"127.0.0.1:{self.proxy.port}"

    def hold(self) -> None:
        """Acks and mine answers wait until `release`."""
        self._loop.call_soon_threadsafe(self.service.gate.clear)

    def release(self) -> None:
        self._loop.call_soon_threadsafe(self.service.gate.set)

    def wait_for(self, condition: Callable[[Store], bool]) -> None:
        """Waits until the store has seen something."""
        with self.service.arrived:
            assert self.service.arrived.wait_for(lambda: condition(self.store), 20), self.store.calls

    def cut(self) -> None:
        """Resets every connection that is open through the proxy."""
        self.run(self.proxy.cut())

    def close(self) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        await self.proxy.stop()
        await self.server.stop(0)
