"""A handle of one collection for asyncio; the blocking one's twin."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack

from negmine import _async_mining, _calls, _explain, _upserts
from negmine._async_writer import AsyncWriter
from negmine._encoding import Encoder
from negmine._explain import Explanation
from negmine._mining import PARTS_IN_FLIGHT
from negmine._models import CollectionInfo, Stats
from negmine._options import MineArgs, MineOptions
from negmine._results import DeleteResult, Fetched, Negatives, Snapshot, UpsertResult, Watermark

if TYPE_CHECKING:
    from negmine._async_client import AsyncClient


class AsyncCollection:
    """One collection or alias, by name; methods as of `Collection`."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"AsyncCollection({self.name!r}, {self._client!r})"

    async def mine(self, anchors: Any, k: int, **options: Unpack[MineOptions]) -> Negatives:
        """Mines k hard negatives for each of B anchors; as `Collection.mine`."""
        args = MineArgs(anchors=anchors, k=k, **options)
        return await anext(self.mine_stream([args], window=PARTS_IN_FLIGHT))

    def mine_stream(self, batches: Iterable[MineArgs], *, window: int = 4) -> AsyncIterator[Negatives]:
        """Mines many batches with up to `window` calls on their way, in the order of `batches`."""
        return _async_mining.stream(self._client._connections, self.name, batches, window)

    async def explain(
        self, anchors: Any, k: int, *, candidates: int = 64, **options: Unpack[MineOptions]
    ) -> Explanation:
        """Says what became of each anchor's nearest items; as `Collection.explain`."""
        plan = _explain.plan(self.name, MineArgs(anchors=anchors, k=k, **options), candidates)
        connection = self._client._connections.current()
        calls = plan.calls(await connection.server())
        return plan.join([await connection.run(call, plan.mining.timeout_s) for call in calls])

    async def upsert(
        self,
        ids: Any,
        items: Any,
        *,
        step: int = 0,
        generation: int | None = None,
        groups: Any = None,
        tags: Any = None,
        uncertainties: Any = None,
        batch_rows: int | None = None,
        on_ack: Callable[[UpsertResult], object] | None = None,
        timeout_s: float | None = None,
    ) -> UpsertResult:
        """Puts n items in, and returns when they are durable and visible; as `Collection.upsert`."""
        async with self.writer(batch_rows=batch_rows, on_ack=on_ack, timeout_s=timeout_s) as writer:
            await writer.send(
                ids, items, step=step, generation=generation, groups=groups, tags=tags, uncertainties=uncertainties
            )
            return await writer.flush()

    def writer(
        self,
        *,
        window: int = _upserts.WINDOW,
        batch_rows: int | None = None,
        on_ack: Callable[[UpsertResult], object] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncWriter:
        """A stream of upserts, as an asynchronous context manager; see `AsyncWriter`."""
        plan = _upserts.Plan(self.name, window=window, batch_rows=batch_rows)
        return AsyncWriter(self._client, plan, on_ack=on_ack, timeout_s=timeout_s)

    async def delete(
        self, ids: Any, *, step: int | None = None, generation: int | None = None, timeout_s: float | None = None
    ) -> DeleteResult:
        """Deletes items by id; as `Collection.delete`."""
        calls = _calls.delete(self.name, ids, step, generation, await self._client._limits())
        return _calls.join_deletes([await self._client._run(call, timeout_s) for call in calls])

    async def fetch(
        self,
        ids: Any,
        *,
        codes: bool = False,
        embeddings: bool = False,
        min_watermark: Watermark | None = None,
        timeout_s: float | None = None,
    ) -> Fetched:
        """Reads items by id, with their codes or stored embeddings where asked."""
        calls = _calls.fetch(self.name, ids, codes, embeddings, min_watermark, await self._client._limits())
        return _calls.join_fetches([await self._client._run(call, timeout_s) for call in calls])

    async def info(self) -> CollectionInfo:
        """What it is, and its state."""
        return await self._client._run(_calls.get_collection(self.name))

    async def stats(self, *, timeout_s: float | None = None) -> Stats:
        """Counts, sizes and balance."""
        return await self._client._run(_calls.stats(self.name), timeout_s)

    async def snapshot(self, *, timeout_s: float | None = None) -> Snapshot:
        """Writes a snapshot of every shard and trims the logs behind it."""
        return await self._client._run(_calls.snapshot(self.name), timeout_s)

    async def start_generation(self, generation: int | None = None) -> int:
        """Begins another attempt of the training run; as `Collection.start_generation`."""
        return await self._client._run(_calls.start_generation(self.name, generation))

    async def encoder(self) -> Encoder:
        """The collection's encoder, checked by its fingerprint."""
        return _calls.encoder(await self.info())

    async def drop(self) -> None:
        """Drops the collection and what is stored of it. Refused where an alias names it."""
        await self._client._run(_calls.drop_collection(self.name))
