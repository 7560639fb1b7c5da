"""IndexService: `rpc.index → collection.upsert → engine.apply → shard.apply → ack`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from negmine.v1 import index_pb2 as pb
from negmine.v1 import index_pb2_grpc

from negmine_server.catalog import Catalog, Entry
from negmine_server.collection import Collection
from negmine_server.domain import Applied
from negmine_server.engine.interface import Sent
from negmine_server.errors import InvalidInput, NotFound
from negmine_server.rpc.read_index import check_fetch, check_rows, read_items, write_fetch
from negmine_server.rpc.serving import Bell, Context, Drain, deadline_of, reached, streaming, unary
from negmine_server.rpc.states import read_watermark, write_version, write_watermark
from negmine_server.rpc.tensors import read_ids, read_unique_ids, write

WRITER_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class _Pending:
    """A batch on its way to durable."""

    number: int
    rows: int
    sent: list[Sent]
    collection: Collection


@dataclass(frozen=True, slots=True)
class IndexService(index_pb2_grpc.IndexServiceServicer):
    """Serves Upsert, Delete and Fetch from one catalog.

    `threads` read and encode batches; `after_upsert` is told of a collection after each ack.
    """

    catalog: Catalog
    threads: Executor
    bell: Bell
    drain: Drain
    after_upsert: Callable[[Entry], None]
    batch_rows_max: int
    window: int
    watermark_wait_s: float

    @streaming
    async def Upsert(
        self, requests: AsyncIterator[pb.UpsertRequest], context: Context
    ) -> AsyncGenerator[pb.UpsertResponse, None]:
        """See index.proto. One task reads, encodes and queues; this one acks in order, at most a window behind."""
        entry, start = await self._start(requests)
        collection = self.catalog.serving(entry.record.name)
        yield pb.UpsertResponse(
            ready=pb.UpsertReady(
                window=self.window,
                batch_rows_max=self.batch_rows_max,
                collection=collection.name,
                watermark=write_watermark(collection.watermark),
                newest=write_version(collection.newest),
            )
        )
        pending: asyncio.Queue[_Pending | BaseException | None] = asyncio.Queue(self.window)
        reader = asyncio.ensure_future(self._read(requests, start, collection.incarnation, pending))
        try:
            while (item := await pending.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                ack, error = await _acked(item)
                if ack is not None:
                    yield pb.UpsertResponse(ack=ack)
                if error is not None:
                    raise error
                self.after_upsert(entry)
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def _start(self, requests: AsyncIterator[pb.UpsertRequest]) -> tuple[Entry, pb.UpsertStart]:
        try:
            first = await anext(requests)
        except StopAsyncIteration:
            raise InvalidInput("the stream ended before its start message", field="start") from None
        if first.WhichOneof("message") != "start":
            raise InvalidInput("the first message of an upsert stream is start", field="start")
        if len(first.start.writer_id) > WRITER_CHARACTERS_MAX:
            raise InvalidInput(
                f"start.writer_id has {len(first.start.writer_id)} characters; expected up to {WRITER_CHARACTERS_MAX}",
                field="start.writer_id",
            )
        return self.catalog.entry(first.start.collection), first.start

    async def _read(
        self,
        requests: AsyncIterator[pb.UpsertRequest],
        start: pb.UpsertStart,
        incarnation: str,
        pending: asyncio.Queue[_Pending | BaseException | None],
    ) -> None:
        """Reads batches until the stream ends or one is wrong; that error comes after the acks of the earlier ones."""
        name = self.catalog.entry(start.collection).record.name
        loop = asyncio.get_running_loop()
        last = 0
        try:
            async for request in requests:
                _check_order(request, last, start.writer_id)
                batch = request.batch
                last = batch.number
                collection = self._same(name, incarnation)
                sent = await loop.run_in_executor(self.threads, self._queue, collection, batch, start.writer_id)
                await pending.put(_Pending(batch.number, batch.ids.shape[0], sent, collection))
            await pending.put(None)
        except Exception as error:  # noqa: BLE001 (the acking side raises it, in its place)
            await pending.put(error)

    def _same(self, name: str, incarnation: str) -> Collection:
        """The collection that the stream was opened for."""
        collection = self.catalog.serving(name)
        if collection.incarnation != incarnation:
            raise NotFound(f"{name!r} was dropped while the stream was open", field="collection")
        return collection

    def _queue(self, collection: Collection, batch: pb.UpsertBatch, writer: str) -> list[Sent]:
        """On a thread: reads, encodes and queues one batch."""
        return collection.upsert(read_items(batch, collection, writer, self.batch_rows_max))

    @unary
    async def Delete(self, request: pb.DeleteRequest, context: Context) -> pb.DeleteResponse:
        """See index.proto."""
        collection = self.catalog.serving(request.collection)
        check_rows(request.ids, "ids", self.batch_rows_max)
        ids = read_unique_ids(request.ids, "ids")
        generation = request.version.generation if request.version.HasField("generation") else None
        step = request.version.step if request.HasField("version") else None
        sent = await asyncio.get_running_loop().run_in_executor(self.threads, collection.delete, ids, generation, step)
        results = await asyncio.gather(*(asyncio.wrap_future(part.outcome) for part in sent), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        done = [result for result in results if isinstance(result, Applied)]
        return pb.DeleteResponse(
            deleted=sum(result.deleted for result in done),
            stale=sum(result.stale for result in done),
            watermark=write_watermark(collection.watermark),
        )

    @unary
    async def Fetch(self, request: pb.FetchRequest, context: Context) -> pb.FetchResponse:
        """See index.proto."""
        collection = self.catalog.serving(request.collection)
        check_rows(request.ids, "ids", self.batch_rows_max)
        check_fetch(request, collection)
        if request.HasField("min_watermark"):
            wanted = read_watermark(request.min_watermark)
            await reached(collection, wanted, self.bell, deadline_of(context), self.watermark_wait_s)

        def work() -> pb.FetchResponse:
            fetched = collection.fetch(read_ids(request.ids, "ids", None))
            return write_fetch(fetched, request, collection)

        return await asyncio.get_running_loop().run_in_executor(self.threads, work)


def _check_order(request: pb.UpsertRequest, last: int, writer: str) -> None:
    if request.WhichOneof("message") != "batch":
        raise InvalidInput("expected a batch after start", field="batch")
    if writer and request.batch.number <= last:
        raise InvalidInput(f"batch.number is {request.batch.number} after {last}; numbers rise", field="batch.number")


async def _acked(item: _Pending) -> tuple[pb.UpsertAck | None, BaseException | None]:
    """The ack of a batch once every shard has decided, and the error that ends the stream after it."""
    outcomes = (asyncio.wrap_future(part.outcome) for part in item.sent)
    results = await asyncio.gather(*outcomes, return_exceptions=True)
    done = [result for result in results if isinstance(result, Applied)]
    error = next((result for result in results if isinstance(result, BaseException)), None)
    if error is not None and not done:
        return None, error
    ack = pb.UpsertAck(
        number=item.number,
        inserted=sum(result.inserted for result in done),
        overwritten=sum(result.overwritten for result in done),
        stale=sum(result.stale for result in done),
        duplicate=bool(done) and all(result.duplicate for result in done),
        watermark=write_watermark(item.collection.watermark),
    )
    if error is not None:
        applied = np.zeros(item.rows, np.uint8)
        for part, result in zip(item.sent, results, strict=True):
            applied[part.rows] = isinstance(result, Applied)
        ack.applied.CopyFrom(write(applied))
    return ack, error
