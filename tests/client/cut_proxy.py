"""A TCP proxy between client and server whose connections can be reset."""

from __future__ import annotations

import asyncio
from collections import deque


class CutProxy:
    """Passes bytes both ways until it is told to cut."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0  # of its own choice; started again, it keeps it
        self.cut_after_bytes: deque[int] = deque()  # for each connection to come: reset it after so many bytes sent
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await self.cut()

    async def cut(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        bytes_left = self.cut_after_bytes.popleft() if self.cut_after_bytes else -1
        self._open |= {writer, upstream_writer}
        there = asyncio.create_task(self._pump(reader, upstream_writer, bytes_left, writer))
        back = asyncio.create_task(self._pump(upstream_reader, writer, -1, upstream_writer))
        await asyncio.gather(there, back, return_exceptions=True)
        self._open -= {writer, upstream_writer}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_left: int, other: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(64 * 1024):
                writer.write(data)
                await writer.drain()
                if bytes_left >= 0:
                    bytes_left -= len(data)
                    if bytes_left < 0:
                        break
        finally:
            writer.transport.abort()
            other.transport.abort()
