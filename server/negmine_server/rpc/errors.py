"""The one table from domain errors to gRPC status, with google.rpc details."""

from __future__ import annotations

import errno
import logging

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from negmine_server import errors

LOG = logging.getLogger(__name__)
DOMAIN = "negmine"
INTERNAL_MESSAGE = "internal error; the server's log has the cause"

# The first class that matches decides: subclasses stand before their bases.
_TABLE: tuple[tuple[type[errors.NegmineError], grpc.StatusCode], ...] = (
    (errors.TooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.NotReady, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Aborted, grpc.StatusCode.ABORTED),
    (errors.Unimplemented, grpc.StatusCode.UNIMPLEMENTED),
    (errors.Overloaded, grpc.StatusCode.UNAVAILABLE),
    (errors.Loading, grpc.StatusCode.UNAVAILABLE),
    (errors.Draining, grpc.StatusCode.UNAVAILABLE),
    (errors.StorageFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.StorageFailed, grpc.StatusCode.UNAVAILABLE),
    (errors.DeviceFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.DeviceLost, grpc.StatusCode.UNAVAILABLE),
    (errors.DeviceFailed, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.DeadlinePassed, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.DataLoss, grpc.StatusCode.DATA_LOSS),
)


def code_of(error: BaseException) -> grpc.StatusCode:
    """The status code of an error; INTERNAL for what is not a domain error."""
    return next((code for kind, code in _TABLE if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def known(error: BaseException) -> errors.NegmineError:
    """The error as a domain error: what is not one is logged, and its text stays here."""
    if isinstance(error, errors.NegmineError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.StorageFull(f"the data folder has no room: {error.strerror}")
    LOG.error("unhandled error", exc_info=error)
    return errors.NegmineError(INTERNAL_MESSAGE)


def status_of(error: BaseException) -> grpc.Status:
    """The whole status: code, message and details (ErrorInfo, BadRequest, RetryInfo)."""
    problem = known(error)
    details = [_packed(error_details_pb2.ErrorInfo(reason=problem.reason, domain=DOMAIN))]
    if problem.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=problem.field, description=problem.message)
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if problem.retry_after_ms:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(problem.retry_after_ms)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    code = code_of(problem)
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message=problem.message, details=details))


def trailers_of(error: BaseException) -> tuple[tuple[str, str | bytes], ...]:
    """Trailing metadata of an error: the status details, and the pushback that gRPC's own retries obey."""
    trailers = tuple(status_of(error).trailing_metadata)
    retry_after_ms = getattr(error, "retry_after_ms", 0)
    if retry_after_ms:
        trailers += (("grpc-retry-pushback-ms", str(retry_after_ms)),)
    return trailers


async def abort(context: grpc.aio.ServicerContext, error: BaseException) -> None:
    """Ends the call with the error's status."""
    problem = known(error)
    await context.abort(code_of(problem), problem.message, trailers_of(problem))


def _packed(message: object) -> any_pb2.Any:
    detail = any_pb2.Any()
    detail.Pack(message)
    return detail
