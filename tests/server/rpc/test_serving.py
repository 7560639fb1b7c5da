"""What every RPC shares: draining streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from negmine_server.errors import Draining
from negmine_server.rpc.serving import Drain


async def numbers(count: int, then: asyncio.Event) -> AsyncIterator[int]:
    """0 … count - 1, then nothing until the event."""
    for number in range(count):
        yield number
    await then.wait()


async def test_a_stream_that_ends_is_passed_on_whole() -> None:
    done = asyncio.Event()
    done.set()
    assert [number async for number in Drain().until_asked(numbers(5, done))] == list(range(5))


async def test_a_quiet_stream_ends_when_asked() -> None:
    drain, seen = Drain(), []

    async def follow() -> None:
        async for number in drain.until_asked(numbers(3, asyncio.Event())):
            seen.append(number)
            if number == 2:
                asyncio.get_running_loop().call_soon(drain.ask)

    with pytest.raises(Draining, match="resume"):
        await follow()
    assert seen == [0, 1, 2]


async def test_an_error_of_the_stream_is_passed_on() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        _ = [number async for number in Drain().until_asked(broken())]
