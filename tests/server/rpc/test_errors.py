"""Every domain error as a status on a real channel, with its details; and what is not one stays inside."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import grpc
import pytest
from live_wire import Refusal, refusal
from negmine.v1 import collection_pb2, collection_pb2_grpc
from negmine_server import errors, metrics
from negmine_server.rpc.errors import code_of
from negmine_server.rpc.serving import Context, unary

CODES = {
    errors.InvalidInput: ("INVALID_ARGUMENT", "INVALID_INPUT"),
    errors.TooLarge: ("RESOURCE_EXHAUSTED", "TOO_LARGE"),
    errors.NotFound: ("NOT_FOUND", "NOT_FOUND"),
    errors.AlreadyExists: ("ALREADY_EXISTS", "ALREADY_EXISTS"),
    errors.NotReady: ("FAILED_PRECONDITION", "NOT_READY"),
    errors.FingerprintMismatch: ("FAILED_PRECONDITION", "FINGERPRINT_MISMATCH"),
    errors.IncarnationMismatch: ("FAILED_PRECONDITION", "INCARNATION_MISMATCH"),
    errors.Fenced: ("FAILED_PRECONDITION", "FENCED"),
    errors.Aborted: ("ABORTED", "EARLIER_BATCH_FAILED"),
    errors.Unimplemented: ("UNIMPLEMENTED", "UNIMPLEMENTED"),
    errors.Overloaded: ("UNAVAILABLE", "OVERLOADED"),
    errors.Loading: ("UNAVAILABLE", "LOADING"),
    errors.Draining: ("UNAVAILABLE", "DRAINING"),
    errors.StorageFull: ("RESOURCE_EXHAUSTED", "STORAGE_FULL"),
    errors.StorageFailed: ("UNAVAILABLE", "STORAGE_FAILED"),
    errors.DeviceFull: ("RESOURCE_EXHAUSTED", "DEVICE_FULL"),
    errors.DeviceLost: ("UNAVAILABLE", "DEVICE_LOST"),
    errors.DeviceFailed: ("FAILED_PRECONDITION", "DEVICE_FAILED"),
    errors.DeadlinePassed: ("DEADLINE_EXCEEDED", "DEADLINE_PASSED"),
    errors.DataLoss: ("DATA_LOSS", "DATA_LOSS"),
}


class Raising(collection_pb2_grpc.CollectionServiceServicer):
    """Raises what it is told to."""

    error: BaseException = ValueError()

    @unary
    async def GetCollection(  # noqa: N802 - gRPC names the method
        self, request: collection_pb2.GetCollectionRequest, context: Context
    ) -> collection_pb2.GetCollectionResponse:
        raise self.error


@pytest.fixture
async def raising() -> AsyncIterator[tuple[Raising, collection_pb2_grpc.CollectionServiceStub]]:
    server, service = grpc.aio.server(), Raising()
    collection_pb2_grpc.add_CollectionServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield service, collection_pb2_grpc.CollectionServiceStub(channel)
    await server.stop(0)


async def refused(raising: tuple[Raising, collection_pb2_grpc.CollectionServiceStub], error: BaseException) -> Refusal:
    service, stub = raising
    service.error = error
    request = collection_pb2.GetCollectionRequest()
    return await asyncio.to_thread(lambda: refusal(lambda: stub.GetCollection(request, timeout=10)))


def test_every_error_has_its_code() -> None:
    def below(kind: type[errors.NegmineError]) -> set[type[errors.NegmineError]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__() if child.__module__ == errors.__name__))

    assert below(errors.NegmineError) - {errors.NegmineError} == set(CODES)


@pytest.mark.parametrize("kind", CODES)
async def test_an_error_arrives_with_its_details(raising, kind: type[errors.NegmineError]) -> None:
    code, reason = CODES[kind]
    got = await refused(raising, kind("k is 0; expected more", field="k", retry_after_ms=70))
    assert got == Refusal(grpc.StatusCode[code], "k is 0; expected more", reason, "negmine", "k", 70, "70")
    plain = await refused(raising, kind("so", reason="OTHER"))
    assert plain == Refusal(grpc.StatusCode[code], "so", "OTHER", "negmine", "", 0, None)


async def test_a_disk_without_room_is_known_wherever_it_shows(raising) -> None:
    for number in (errno.ENOSPC, errno.EDQUOT):
        got = await refused(raising, OSError(number, "No space left on device", "/secret/path"))
        assert (got.code, got.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
        assert "/secret" not in got.message


@pytest.mark.parametrize("error", [ValueError("secret"), OSError(5, "secret"), AssertionError("secret")])
async def test_what_is_not_foreseen_is_internal_and_says_nothing(raising, error: Exception, caplog) -> None:
    got = await refused(raising, error)
    assert (got.code, got.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert got.message == "internal error; the server's log has the cause"
    assert "secret" in caplog.text
    assert code_of(error) is grpc.StatusCode.INTERNAL


async def test_outcomes_are_counted_by_code(raising) -> None:
    def seen(code: str) -> float:
        labels = {"method": "GetCollection", "code": code}
        return metrics.REGISTRY.get_sample_value("negmine_rpc_seconds_count", labels) or 0

    before = seen("NOT_FOUND")
    await refused(raising, errors.NotFound("no"))
    for _ in range(100):  # counted once the handler has ended, which the caller does not wait for
        await asyncio.sleep(0)
    assert seen("NOT_FOUND") == before + 1
