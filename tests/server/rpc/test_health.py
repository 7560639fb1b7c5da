"""Health: of the server, its services and its collections, when asked and as it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from house import House
from live_wire import TIMEOUT_S, Wire, refusal
from negmine_server.errors import DeviceLost
from negmine_server.rpc.health import COLLECTION, HealthService
from negmine_server.rpc.serving import Bell

Request = health_pb2.HealthCheckRequest
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Aborted(Exception):
    """What a context raises to end a call."""


class Context:
    async def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Aborted(code, text)


@pytest.fixture
async def lost() -> list[int]:
    """Devices that are lost."""
    return []


@pytest.fixture
async def health(house: House, lost: list[int]) -> HealthService:
    return HealthService(house.catalog, ["a.Service"], lambda: bool(lost), Bell(asyncio.get_running_loop()))


async def status(health: HealthService, service: str = "") -> Any:
    return (await health.Check(Request(service=service), Context())).status


async def test_nothing_serves_before_it_is_open_and_after(health: HealthService, house: House) -> None:
    house.create("c")
    names = ("", "a.Service", COLLECTION + "c")
    assert {await status(health, name) for name in names} == {NOT_SERVING}
    health.open()
    assert {await status(health, name) for name in names} == {SERVING}
    health.close()
    assert {await status(health, name) for name in names} == {NOT_SERVING}


async def test_a_collection_is_there_by_its_name_and_alias_until_it_is_dropped(
    health: HealthService, house: House
) -> None:
    health.open()
    house.create("c")
    house.catalog.set_alias("alias", "c")
    assert await status(health, COLLECTION + "alias") == SERVING
    house.catalog.drop_alias("alias")
    house.catalog.drop("c")
    for name in ("c", "alias"):
        with pytest.raises(Aborted, match="NOT_FOUND"):
            await status(health, COLLECTION + name)


async def test_a_lost_device_is_its_collections_and_the_whole_servers_trouble(
    health: HealthService, house: House, lost: list[int]
) -> None:
    health.open()
    house.create("hit")
    house.create("spared")
    lost.append(0)
    house.entry("hit").problem = DeviceLost("gone")
    assert await status(health) == NOT_SERVING
    assert await status(health, COLLECTION + "hit") == NOT_SERVING
    assert await status(health, COLLECTION + "spared") == SERVING
    assert await status(health, "a.Service") == SERVING


async def test_a_watch_tells_each_change_once(health: HealthService, lost: list[int]) -> None:
    told: AsyncIterator[Any] = health.Watch(Request(service=""), Context())
    async with aclosing(told):
        assert (await anext(told)).status == NOT_SERVING
        health.open()
        assert (await anext(told)).status == SERVING
        health.open()
        lost.append(0)
        health._bell.ring()
        assert (await asyncio.wait_for(anext(told), TIMEOUT_S)).status == NOT_SERVING
    unknown = health.Watch(Request(service="nobody"), Context())
    async with aclosing(unknown):
        assert (await anext(unknown)).status == UNKNOWN


def test_a_running_server_answers_for_its_collections(wire: Wire) -> None:
    name = wire.create()
    for service in ("", "negmine.v1.MiningService", COLLECTION + name):
        assert wire.health.Check(Request(service=service), timeout=TIMEOUT_S).status == SERVING
    refused = refusal(lambda: wire.health.Check(Request(service=COLLECTION + "nobody"), timeout=TIMEOUT_S))
    assert refused.code is grpc.StatusCode.NOT_FOUND
    watch = wire.health.Watch(Request(service=COLLECTION + name), timeout=TIMEOUT_S)
    assert next(watch).status == SERVING
    watch.cancel()
