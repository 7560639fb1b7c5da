"""The blocking gRPC channel: opened by the first call of each process, never carried across a fork."""

from __future__ import annotations

import dataclasses
import os
import weakref
from typing import Any, Final, TypeVar

import grpc

from negmine import _calls
from negmine._calls import Call
from negmine._exceptions import ClientClosed, NegmineError, TooLarge, Unimplemented, from_rpc
from negmine._models import ServerInfo
from negmine._settings import Settings, channel_options, read_pem
from negmine.v1 import collection_pb2_grpc, index_pb2_grpc, mining_pb2_grpc

R = TypeVar("R")


class Connection:
    """One channel with its stubs, in one process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.channel = _open(settings)
        self.stubs: Final[dict[str, Any]] = stubs(self.channel)
        self._server: ServerInfo | None = None
        keep_in_children(self)

    def run(self, call: Call[R], timeout_s: float | None = None, *, wait: bool = False) -> R:
        """Makes one call and waits for its answer.

        Raises:
            NegmineError: what the server, or gRPC, answered.
        """
        method = getattr(self.stubs[call.service], call.method)
        try:
            reply = method(
                call.request,
                timeout=timeout_s or self.settings.timeout_s,
                metadata=self.settings.metadata,
                wait_for_ready=wait,
            )
        except grpc.RpcError as failure:
            raise self.failed(failure) from None
        except ValueError as failure:  # of gRPC: the channel was closed meanwhile
            raise ClientClosed("the client was closed during the call") from failure
        return call.parse(reply)

    def failed(self, failure: Any) -> NegmineError:
        """The error for what gRPC raised; where it is of a bound, the bounds are asked for again."""
        error = from_rpc(failure)
        if isinstance(error, TooLarge | Unimplemented):
            self._server = None
        return error

    def start(self, call: Call[R], timeout_s: float | None = None, *, wait: bool = False) -> Any:
        """Starts one call, and returns its future; with `wait` it is not over while no server is there."""
        method = getattr(self.stubs[call.service], call.method)
        return method.future(
            call.request,
            timeout=timeout_s or self.settings.timeout_s,
            metadata=self.settings.metadata,
            wait_for_ready=wait,
        )

    def server(self, timeout_s: float | None = None) -> ServerInfo:
        """The server's bounds and features, asked for once."""
        if self._server is None:
            self._server = within(self.run(_calls.server_info(), timeout_s), self.settings)
        return self._server


class Connections:
    """The connection of this process; a forked child gets one of its own and leaves its parent's alone."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Keyed by process; None = closed. dict.setdefault is atomic, so no lock could be held across a fork.
        self._by_process: dict[int, Connection | None] = {}

    def current(self) -> Connection:
        """This process's connection, opened by the first call.

        Raises:
            ClientClosed: the client was closed.
        """
        process = os.getpid()
        if process not in self._by_process:
            self._by_process.setdefault(process, Connection(self._settings))
        connection = self._by_process[process]
        if connection is None:
            raise ClientClosed("the client is closed; create another one")
        return connection

    def close(self) -> None:
        """Closes this process's connection for good."""
        connection = self._by_process.get(os.getpid())
        self._by_process[os.getpid()] = None
        if connection is not None:
            connection.channel.close()


def stubs(channel: Any) -> dict[str, Any]:
    """The three services on a channel of either API; generated without types."""
    kinds: dict[str, Any] = {
        "collections": collection_pb2_grpc.CollectionServiceStub,
        "index": index_pb2_grpc.IndexServiceStub,
        "mining": mining_pb2_grpc.MiningServiceStub,
    }
    return {service: kind(channel) for service, kind in kinds.items()}


def credentials(settings: Settings) -> Any | None:
    """TLS credentials; None = plain."""
    if settings.tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=read_pem(settings.tls.root_certificates),
        private_key=read_pem(settings.tls.key),
        certificate_chain=read_pem(settings.tls.certificate),
    )


def within(server: ServerInfo, settings: Settings) -> ServerInfo:
    """The server's bounds, with the message no larger than the client's own bound."""
    size = min(server.limits.message_bytes_max or settings.message_bytes_max, settings.message_bytes_max)
    return dataclasses.replace(server, limits=dataclasses.replace(server.limits, message_bytes_max=size))


def _open(settings: Settings) -> Any:
    options, secrets = channel_options(settings), credentials(settings)
    if secrets is None:
        return grpc.insecure_channel(settings.target, options)
    return grpc.secure_channel(settings.target, secrets, options)


_live: weakref.WeakSet[Any] = weakref.WeakSet()
_abandoned: list[Any] = []


def keep_in_children(connection: Any) -> None:
    """A forked child keeps the connection, so that collecting it never closes the parent's channel from there."""
    _live.add(connection)


def _abandon() -> None:
    _abandoned.extend(_live)


os.register_at_fork(after_in_child=_abandon)
