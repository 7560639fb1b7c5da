"""The asyncio client; the blocking one's twin."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from negmine import _calls
from negmine._async_channel import AsyncConnections
from negmine._async_collection import AsyncCollection
from negmine._calls import Call
from negmine._models import CollectionInfo, EstimateMean, Limits, MetricName, ServerInfo, VectorStoreName
from negmine._settings import MIB, TLS, Retry, Settings, make_settings

R = TypeVar("R")


class AsyncClient:
    """A connection to a negmine server for asyncio; arguments and methods as of `Client`.

    The channel is opened by the first call, in each event loop and process of its own. Pickles as its settings.
    """

    def __init__(
        self,
        target: str = "localhost:7654",
        *,
        timeout_s: float = 30.0,
        tls: TLS | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        message_bytes_max: int = 64 * MIB,
    ) -> None:
        self._bind(make_settings(target, timeout_s, tls, token, metadata, retry, message_bytes_max))

    def _bind(self, settings: Settings) -> None:
        self.settings = settings
        self._connections = AsyncConnections(settings)

    def __repr__(self) -> str:
        return f"AsyncClient({self.settings.target!r})"

    def __getstate__(self) -> Settings:
        return self.settings

    def __setstate__(self, settings: Settings) -> None:
        self._bind(settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; calls under way are cancelled and later ones raise ClientClosed."""
        await self._connections.close()

    async def wait_until_ready(self, timeout_s: float | None = None) -> ServerInfo:
        """Waits for a server that is starting, and returns what it is."""
        return await self._run(_calls.server_info(), timeout_s, wait=True)

    async def create_collection(
        self,
        name: str,
        dimension: int,
        *,
        bits: int = 256,
        metric: MetricName = "cosine",
        vectors: VectorStoreName = "none",
        seed: int = 0,
        mean: Any | EstimateMean | None = None,
        shards: int = 0,
        recall_target: float | None = None,
        exist_ok: bool = False,
    ) -> AsyncCollection:
        """Creates an empty collection; as `Client.create_collection`."""
        await self._run(
            _calls.create_collection(
                name, dimension, bits, metric, vectors, seed, mean, shards, recall_target, exist_ok=exist_ok
            )
        )
        return self.collection(name)

    def collection(self, name: str) -> AsyncCollection:
        """A handle of a collection or alias; costs no call and does not check that it exists."""
        return AsyncCollection(self, name)

    async def list_collections(self) -> list[CollectionInfo]:
        """Collections, by name."""
        return await self._run(_calls.list_collections())

    async def list_aliases(self) -> dict[str, str]:
        """Aliases and the collections that they point at."""
        return await self._run(_calls.list_aliases())

    async def get(self, name: str) -> CollectionInfo:
        """Describes a collection, by its name or an alias."""
        return await self._run(_calls.get_collection(name))

    async def drop_collection(self, name: str) -> None:
        """Drops a collection and what is stored of it. Refused while an alias names it."""
        await self._run(_calls.drop_collection(name))

    async def set_alias(self, alias: str, collection: str) -> str | None:
        """Points an alias at a collection, atomically; returns the one it pointed at before."""
        return await self._run(_calls.set_alias(alias, collection))

    async def drop_alias(self, alias: str) -> None:
        """Removes an alias."""
        await self._run(_calls.drop_alias(alias))

    async def server_info(self) -> ServerInfo:
        """Version, limits and features of the server."""
        return await self._run(_calls.server_info())

    async def _run(self, call: Call[R], timeout_s: float | None = None, *, wait: bool = False) -> R:
        return await self._connections.current().run(call, timeout_s, wait=wait)

    async def _limits(self) -> Limits:
        return (await self._connections.current().server()).limits
