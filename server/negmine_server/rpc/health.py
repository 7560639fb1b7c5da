"""grpc.health.v1.Health: whether the whole server, each of its services and each of its collections serves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from negmine_server.catalog import Catalog, State
from negmine_server.errors import NotFound
from negmine_server.rpc.serving import Bell, Context

COLLECTION = "negmine.collection/"  # followed by a collection's name or alias
POLL_S = 1.0  # after which a watch sees what nobody rang for

_Status = health_pb2.HealthCheckResponse


class HealthService(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Looks when it is asked. Everything is NOT_SERVING before `open` and after `close`; in between

    - "" is as long as no device is lost: restarting the server is then the cure, for those who restart by it;
    - a gRPC service of the server is: calls for collections that serve are answered;
    - "negmine.collection/NAME" is as long as the collection is, by its name or an alias.

    Args:
        services: full names of the gRPC services.
        device_lost: whether a device is.
        bell: rings when something may have changed.
    """

    def __init__(
        self, catalog: Catalog, services: Collection[str], device_lost: Callable[[], bool], bell: Bell
    ) -> None:
        self._catalog = catalog
        self._services = services
        self._device_lost = device_lost
        self._bell = bell
        self._open = False

    def open(self) -> None:
        """Calls are taken from now on."""
        self._open = True
        self._bell.ring()

    def close(self) -> None:
        """No more calls are wanted."""
        self._open = False
        self._bell.ring()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        """The status now; NOT_FOUND for a name that nothing has."""
        status = self._status(request.service)
        if status == _Status.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"nothing here is named {request.service!r}")
        return _Status(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now, and whenever it has changed."""
        last = None
        while True:
            rung = self._bell.next()
            status = self._status(request.service)
            if status != last:
                last = status
                yield _Status(status=status)
            await asyncio.wait([rung], timeout=POLL_S)

    def _status(self, service: str) -> health_pb2.HealthCheckResponse.ServingStatus:
        if service.startswith(COLLECTION):
            try:
                serves = self._catalog.entry(service.removeprefix(COLLECTION)).state is State.SERVING
            except NotFound:
                return _Status.SERVICE_UNKNOWN
        elif service == "":
            serves = not self._device_lost()
        elif service in self._services:
            serves = True
        else:
            return _Status.SERVICE_UNKNOWN
        return _Status.SERVING if self._open and serves else _Status.NOT_SERVING
