"""The asyncio gRPC channel: opened by the first call of each event loop and process."""

from __future__ import annotations

import asyncio
import os
from typing import Any, Final, TypeVar

import grpc
from grpc import aio

from negmine import _calls
from negmine._calls import Call
from negmine._channel import credentials, keep_in_children, stubs, within
from negmine._exceptions import ClientClosed, TooLarge, Unimplemented, from_rpc
from negmine._models import ServerInfo
from negmine._settings import Settings, channel_options

R = TypeVar("R")


class AsyncConnection:
    """One channel with its stubs, in one event loop of one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.channel = _open(settings)
        self.stubs: Final[dict[str, Any]] = stubs(self.channel)
        self._server: ServerInfo | None = None
        keep_in_children(self)

    async def run(self, call: Call[R], timeout_s: float | None = None, *, wait: bool = False) -> R:
        """Makes one call.

        Raises:
            NegmineError: what the server, or gRPC, answered.
        """
        method = getattr(self.stubs[call.service], call.method)
        try:
            reply = await method(
                call.request,
                timeout=timeout_s or self.settings.timeout_s,
                metadata=self.settings.metadata,
                wait_for_ready=wait,
            )
        except grpc.RpcError as failure:
            error = from_rpc(failure)
            if isinstance(error, TooLarge | Unimplemented):  # ask for the bounds again
                self._server = None
            raise error from None
        except aio.UsageError as failure:  # the channel was closed meanwhile
            raise ClientClosed("the client was closed during the call") from failure
        return call.parse(reply)

    async def server(self) -> ServerInfo:
        """The server's bounds and features, asked for once."""
        if self._server is None:
            self._server = within(await self.run(_calls.server_info()), self.settings)
        return self._server


class AsyncConnections:
    """The connection of the running event loop; another loop, and a forked child, gets one of its own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # A loop that is gone, or a parent's, keeps its channel: closing it from elsewhere is not safe.
        self._by_loop: dict[tuple[int, asyncio.AbstractEventLoop], AsyncConnection] = {}
        self._closed = False

    def current(self) -> AsyncConnection:
        """This loop's connection, opened by the first call.

        Raises:
            ClientClosed: the client was closed.
        """
        if self._closed:
            raise ClientClosed("the client is closed; create another one")
        key = (os.getpid(), asyncio.get_running_loop())
        if key not in self._by_loop:
            self._by_loop[key] = AsyncConnection(self._settings)
        return self._by_loop[key]

    async def close(self) -> None:
        """Closes this loop's connection, and the client for good."""
        self._closed = True
        connection = self._by_loop.pop((os.getpid(), asyncio.get_running_loop()), None)
        if connection is not None:
            await connection.channel.close()


def _open(settings: Settings) -> Any:
    options, secrets = channel_options(settings), credentials(settings)
    if secrets is None:
        return aio.insecure_channel(settings.target, options)
    return aio.secure_channel(settings.target, secrets, options)
