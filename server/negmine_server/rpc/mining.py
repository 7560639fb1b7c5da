"""MiningService: `rpc.mining → batcher → collection.mine → engine.search → … → reply`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from negmine.v1 import mining_pb2 as pb
from negmine.v1 import mining_pb2_grpc

from negmine_server.batcher import Batcher, Call, Work
from negmine_server.catalog import Catalog
from negmine_server.collection import Collection
from negmine_server.domain import Negatives
from negmine_server.errors import Draining, InvalidInput
from negmine_server.metrics import Stages
from negmine_server.options import join, kind
from negmine_server.rpc.errors import code_of, known
from negmine_server.rpc.explain import check_candidates, explained
from negmine_server.rpc.read_mine import MineCall, MineLimits, read_mine
from negmine_server.rpc.serving import Bell, Context, Drain, deadline_of, reached, streaming, unary
from negmine_server.rpc.states import read_watermark
from negmine_server.rpc.write_mine import write_mine

STREAM_WINDOW = 8  # requests of one stream worked on or waiting at once


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A Mine request against the collection it names."""

    request: pb.MineRequest
    collection: Collection
    stages: Stages
    arrived: float  # seconds of time.perf_counter()


Read: TypeAlias = tuple[Asked, MineCall]
Scanned: TypeAlias = tuple[Negatives, Stages]
MineBatcher: TypeAlias = Batcher[Asked, Read, Scanned, pb.MineResponse]


def mine_work(limits: MineLimits) -> Work[Asked, Read, Scanned, pb.MineResponse]:
    """What the batcher's workers do: read requests, mine those that agree as one, write the replies."""
    return Work(lambda asked: (asked, read_mine(asked.request, asked.collection, limits)), _key, _scan, _write)


def _key(read: Read) -> Hashable:
    call = read[1]
    return call.options.shared, kind(call.anchors), call.with_vectors


def _scan(batch: Sequence[Read]) -> Scanned:
    begin = time.perf_counter()
    for asked, _ in batch:
        asked.stages.add("queue", begin - asked.arrived)
    anchors, options = join([call.anchors for _, call in batch], [call.options for _, call in batch])
    stages = Stages()
    asked, call = batch[0]
    return asked.collection.mine(anchors, options, with_vectors=call.with_vectors, stages=stages), stages


def _write(batch: Sequence[Read], scanned: Scanned) -> list[pb.MineResponse]:
    negatives, stages = scanned
    replies = []
    start = 0
    for asked, call in batch:
        part = negatives.part(start, start + call.anchors.rows)
        start += call.anchors.rows
        timings_ms = asked.stages.timings_ms | stages.timings_ms
        replies.append(write_mine(part, call, asked.collection.name, timings_ms))
    return replies


@dataclass(frozen=True, slots=True)
class MiningService(mining_pb2_grpc.MiningServiceServicer):
    """Serves MiningService from one catalog; what explains a Mine runs on `threads`."""

    catalog: Catalog
    batcher: MineBatcher
    limits: MineLimits
    threads: Executor
    bell: Bell
    drain: Drain
    watermark_wait_s: float

    @unary
    async def Mine(self, request: pb.MineRequest, context: Context) -> pb.MineResponse:
        """See mining.proto."""
        return await self._mine(self.catalog.serving(request.collection), request, context.peer(), deadline_of(context))

    @unary
    async def Explain(self, request: pb.ExplainRequest, context: Context) -> pb.ExplainResponse:
        """See mining.proto."""
        check_candidates(request.candidates, _rows(request.request), self.limits)
        collection = self.catalog.serving(request.request.collection)
        response = await self._mine(collection, request.request, context.peer(), deadline_of(context))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, explained, request, response, collection, self.limits)

    @streaming
    async def MineStream(
        self, requests: AsyncIterator[pb.MineStreamRequest], context: Context
    ) -> AsyncGenerator[pb.MineStreamResponse, None]:
        """See mining.proto."""
        deadline = deadline_of(context)
        working: set[asyncio.Task[pb.MineStreamResponse]] = set()
        more = True
        draining: Draining | None = None
        incoming: asyncio.Task[pb.MineStreamRequest] | None = None
        try:
            while more or working:
                if more and incoming is None and len(working) < STREAM_WINDOW:
                    incoming = asyncio.ensure_future(anext(requests))
                waited: set[asyncio.Task[Any]] = {*working, *([incoming] if incoming is not None else [])}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if incoming is not None and incoming.done():
                    arrived, incoming = incoming, None
                    try:
                        item = arrived.result()
                        working.add(asyncio.ensure_future(self._mine_one(item, context.peer(), deadline)))
                    except StopAsyncIteration:
                        more = False
                    except Draining as error:
                        more, draining = False, error
                for ended in [task for task in working if task.done()]:
                    working.remove(ended)
                    yield ended.result()
            if draining is not None:
                raise draining
        finally:
            for task in (*working, *([incoming] if incoming is not None else [])):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    async def _mine_one(self, item: pb.MineStreamRequest, client: str, deadline: float | None) -> pb.MineStreamResponse:
        """One batch of a stream: its error is its answer."""
        try:
            collection = self.catalog.serving(item.request.collection)
            response = await self._mine(collection, item.request, client, deadline)
            return pb.MineStreamResponse(number=item.number, response=response)
        except Exception as raised:  # noqa: BLE001 (whatever it is, the caller gets an answer)
            error = known(raised)
            wire = pb.MineError(
                code=code_of(error).value[0],
                reason=error.reason,
                message=error.message,
                retry_after_ms=error.retry_after_ms,
            )
            return pb.MineStreamResponse(number=item.number, error=wire)

    async def _mine(
        self, collection: Collection, request: pb.MineRequest, client: str, deadline: float | None
    ) -> pb.MineResponse:
        if request.priority not in pb.Priority.values():
            raise InvalidInput(f"priority is {request.priority}; this version knows no such priority", field="priority")
        stages = Stages()
        if request.HasField("min_watermark"):
            with stages.time("watermark"):
                wanted = read_watermark(request.min_watermark)
                await reached(collection, wanted, self.bell, deadline, self.watermark_wait_s)
        call = Call(
            Asked(request, collection, stages, time.perf_counter()),
            collection,
            _rows(request),
            client,
            deadline,
            priority=int(request.priority == pb.PRIORITY_BULK),
        )
        return await self.batcher.run(call)


def _rows(request: pb.MineRequest) -> int:
    """Anchors that a request says it has."""
    tensor = request.embeddings if request.WhichOneof("anchors") == "embeddings" else request.codes.codes
    return max(tensor.shape[0], 0) if tensor.shape else 0
