"""Mine calls on their way in an event loop: up to a window of them, answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable

from negmine._async_channel import AsyncConnection, AsyncConnections
from negmine._mining import Joiner, Part, checked_window, parts
from negmine._options import MineArgs
from negmine._results import Negatives
from negmine.v1 import mining_pb2


async def stream(
    connections: AsyncConnections, collection: str, batches: Iterable[MineArgs], window: int
) -> AsyncIterator[Negatives]:
    """The answers to batches, in their order, with up to `window` calls on their way."""
    checked_window(window)
    connection = connections.current()
    joiner = Joiner()
    todo = parts(collection, batches, await connection.server())
    waiting: deque[tuple[Part, asyncio.Task[mining_pb2.MineResponse]]] = deque()
    try:
        while True:
            while len(waiting) < window and (part := next(todo, None)) is not None:
                waiting.append((part, asyncio.create_task(_reply(connection, part))))
            if not waiting:
                return
            part, task = waiting[0]
            whole = joiner.add(part, await task)
            waiting.popleft()
            if whole is not None:
                yield whole
    finally:
        tasks = [task for _, task in waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _reply(connection: AsyncConnection, part: Part) -> mining_pb2.MineResponse:
    if part.error is not None:
        raise part.error
    assert part.plan is not None
    return await connection.run(part.plan.call(part.rows), part.plan.timeout_s)
