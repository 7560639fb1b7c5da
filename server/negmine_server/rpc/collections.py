"""CollectionService: the catalog, snapshots, statistics and server info."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TypeVar

from negmine.v1 import collection_pb2 as pb
from negmine.v1 import collection_pb2_grpc

from negmine_server import VERSION
from negmine_server.catalog import Catalog
from negmine_server.domain import Watermark
from negmine_server.rpc.collection_wire import FEATURES, read_spec, write_info, write_stats
from negmine_server.rpc.serving import Context, unary
from negmine_server.rpc.states import write_watermark

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CollectionService(collection_pb2_grpc.CollectionServiceServicer):
    """Serves the catalog. Calls that touch storage run on `threads`."""

    catalog: Catalog
    threads: Executor
    limits: pb.Limits
    default_shards: int
    default_recall: float
    backend: str

    @unary
    async def CreateCollection(
        self, request: pb.CreateCollectionRequest, context: Context
    ) -> pb.CreateCollectionResponse:
        """See collection.proto."""
        spec = read_spec(request.spec, self.default_shards, self.default_recall)
        entry, created = await self._run(lambda: self.catalog.create(request.name, spec, exist_ok=request.exist_ok))
        return pb.CreateCollectionResponse(collection=write_info(entry), created=created)

    @unary
    async def GetCollection(self, request: pb.GetCollectionRequest, context: Context) -> pb.GetCollectionResponse:
        """See collection.proto."""
        return pb.GetCollectionResponse(collection=write_info(self.catalog.entry(request.collection)))

    @unary
    async def ListCollections(self, request: pb.ListCollectionsRequest, context: Context) -> pb.ListCollectionsResponse:
        """See collection.proto."""
        aliases = self.catalog.aliases().items()
        return pb.ListCollectionsResponse(
            collections=[write_info(entry) for entry in self.catalog.entries()],
            aliases=[pb.Alias(name=name, collection=target) for name, target in aliases],
        )

    @unary
    async def DropCollection(self, request: pb.DropCollectionRequest, context: Context) -> pb.DropCollectionResponse:
        """See collection.proto."""
        await self._run(lambda: self.catalog.drop(request.collection))
        return pb.DropCollectionResponse()

    @unary
    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.SetAliasResponse:
        """See collection.proto."""
        previous = await self._run(lambda: self.catalog.set_alias(request.alias, request.collection))
        return pb.SetAliasResponse(previous=previous)

    @unary
    async def DropAlias(self, request: pb.DropAliasRequest, context: Context) -> pb.DropAliasResponse:
        """See collection.proto."""
        await self._run(lambda: self.catalog.drop_alias(request.alias))
        return pb.DropAliasResponse()

    @unary
    async def CreateSnapshot(self, request: pb.CreateSnapshotRequest, context: Context) -> pb.CreateSnapshotResponse:
        """See collection.proto."""
        collection = self.catalog.serving(request.collection)
        shards = await self._run(collection.engine.snapshot)
        watermark = Watermark(collection.incarnation, 0, tuple(shard.sequence for shard in shards))
        return pb.CreateSnapshotResponse(
            watermark=write_watermark(watermark),
            size_bytes=sum(shard.size_bytes for shard in shards),
            rows=sum(shard.rows for shard in shards),
            trimmed=sum(shard.trimmed for shard in shards),
        )

    @unary
    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        """See collection.proto."""
        collection = self.catalog.serving(request.collection)
        return write_stats(self.catalog.entry(request.collection), collection)

    @unary
    async def StartGeneration(self, request: pb.StartGenerationRequest, context: Context) -> pb.StartGenerationResponse:
        """See collection.proto."""
        wanted = request.generation if request.HasField("generation") else None
        generation = await self._run(lambda: self.catalog.start_generation(request.collection, wanted))
        return pb.StartGenerationResponse(generation=generation)

    @unary
    async def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Context) -> pb.GetServerInfoResponse:
        """See collection.proto."""
        return pb.GetServerInfoResponse(version=VERSION, limits=self.limits, features=FEATURES, backend=self.backend)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)
