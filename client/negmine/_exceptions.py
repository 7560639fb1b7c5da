"""Every error that the SDK raises on purpose.

NegmineError                 code, reason, field, retry_after_s; `progress` where an upsert had begun
├── InvalidInput             a value is wrong, seen here or by the server (also a ValueError)
│   └── TooLarge             a value is beyond a limit of the server
├── NotFound                 no such collection or alias
├── AlreadyExists
├── NotReady                 the collection cannot serve this now, and retrying unchanged will not help
│   ├── FingerprintMismatch  codes were made with another encoder
│   ├── IncarnationMismatch  a watermark of another collection behind the same name
│   └── Fenced               another server took over the collection's log
├── Aborted                  an earlier batch of the writer or another rank failed, or an alias moved during the call
├── Unimplemented            this server does not serve a method, field or policy
├── ResourceExhausted
│   ├── StorageFull          the server's data folder has no room
│   └── DeviceFull           the server's device has no room for more rows
├── Unavailable              no connection, or the server cannot answer now; retries were used up
│   ├── Overloaded           a queue of the server is full; `retry_after_s` says when to come back
│   ├── StorageFailed        the server's data folder cannot be written
│   └── DeviceLost           the server's device fell off; a restart of the server recovers
├── DeadlineExceeded
├── DataLoss                 stored bytes are corrupt; the collection is not served
├── PermissionDenied
├── Unauthenticated
├── Cancelled
├── ClientClosed             the client, writer or prefetcher was closed
└── Internal                 a bug in the server, or an answer that makes no sense
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from negmine._results import UpsertProgress


class NegmineError(Exception):
    """Base of every error below.

    Attributes:
        message: what was received and what was expected.
        code: name of the gRPC status, as in "INVALID_ARGUMENT".
        reason: UPPER_SNAKE, finer than the code; a program may branch on it.
        field: the request's field that is wrong; empty where none is named.
        retry_after_s: when a retry may succeed, as the server advises; None = no advice.
        progress: of an upsert that failed, what is in the collection; None for other calls.
    """

    code: str = "UNKNOWN"
    reason: str = "UNKNOWN"

    def __init__(
        self, message: str, *, code: str = "", reason: str = "", field: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.reason = reason or type(self).reason
        self.field = field
        self.retry_after_s = retry_after_s
        self.progress: UpsertProgress | None = None


class InvalidInput(NegmineError, ValueError):
    """A value is wrong."""

    code = "INVALID_ARGUMENT"
    reason = "INVALID_INPUT"


class TooLarge(InvalidInput):
    """A value is beyond a limit of the server."""

    code = "RESOURCE_EXHAUSTED"
    reason = "TOO_LARGE"


class NotFound(NegmineError):
    """No such collection or alias."""

    code = "NOT_FOUND"
    reason = "NOT_FOUND"


class AlreadyExists(NegmineError):
    """A collection or alias of this name exists."""

    code = "ALREADY_EXISTS"
    reason = "ALREADY_EXISTS"


class NotReady(NegmineError):
    """The collection cannot serve this now, and retrying unchanged will not help."""

    code = "FAILED_PRECONDITION"
    reason = "NOT_READY"


class FingerprintMismatch(NotReady):
    """Codes were made with another encoder than the collection's."""

    reason = "FINGERPRINT_MISMATCH"


class IncarnationMismatch(NotReady):
    """A watermark belongs to another collection behind the same name."""

    reason = "INCARNATION_MISMATCH"


class Fenced(NotReady):
    """Another server took over the collection's log."""

    reason = "FENCED"


class Aborted(NegmineError):
    """An earlier batch of the writer or another rank failed, or an alias moved during the call."""

    code = "ABORTED"
    reason = "EARLIER_BATCH_FAILED"


class Unimplemented(NegmineError):
    """This server does not serve a method, field or policy."""

    code = "UNIMPLEMENTED"
    reason = "UNIMPLEMENTED"


class ResourceExhausted(NegmineError):
    """The server has no room or quota for it."""

    code = "RESOURCE_EXHAUSTED"
    reason = "RESOURCE_EXHAUSTED"


class StorageFull(ResourceExhausted):
    """The server's data folder has no room; nothing of the batch was applied."""

    reason = "STORAGE_FULL"


class DeviceFull(ResourceExhausted):
    """The server's device has no room for more rows; nothing of the batch was applied."""

    reason = "DEVICE_FULL"


class Unavailable(NegmineError):
    """No connection, or the server cannot answer now; retries were used up."""

    code = "UNAVAILABLE"
    reason = "UNAVAILABLE"


class Overloaded(Unavailable):
    """A bounded queue of the server is full."""

    reason = "OVERLOADED"


class StorageFailed(Unavailable):
    """The server's data folder cannot be written; the outcome of the write is unknown."""

    reason = "STORAGE_FAILED"


class DeviceLost(Unavailable):
    """The device that held the collection fell off; nothing that was acked is lost."""

    reason = "DEVICE_LOST"


class DeadlineExceeded(NegmineError):
    """The answer did not come in time."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_PASSED"


class DataLoss(NegmineError):
    """Stored bytes are corrupt; the collection is not served."""

    code = "DATA_LOSS"
    reason = "DATA_LOSS"


class PermissionDenied(NegmineError):
    """The caller may not do this."""

    code = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


class Unauthenticated(NegmineError):
    """The caller's credentials are missing or wrong."""

    code = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class Cancelled(NegmineError):
    """The call was cancelled."""

    code = "CANCELLED"
    reason = "CANCELLED"


class ClientClosed(NegmineError):
    """The client, writer or prefetcher was closed."""

    code = "CANCELLED"
    reason = "CLIENT_CLOSED"


class Internal(NegmineError):
    """A bug in the server, or an answer that makes no sense."""

    code = "INTERNAL"
    reason = "INTERNAL"


_REFUSED: Final = (FingerprintMismatch, IncarnationMismatch, Fenced)
_FULL: Final = (TooLarge, StorageFull, DeviceFull)
_AWAY: Final = (Overloaded, StorageFailed, DeviceLost)
_BY_REASON: Final[dict[str, type[NegmineError]]] = {kind.reason: kind for kind in (*_REFUSED, *_FULL, *_AWAY)}
_BY_CODE: Final[dict[str, type[NegmineError]]] = {
    "INVALID_ARGUMENT": InvalidInput,
    "OUT_OF_RANGE": InvalidInput,
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": NotReady,
    "ABORTED": Aborted,
    "UNIMPLEMENTED": Unimplemented,
    "RESOURCE_EXHAUSTED": ResourceExhausted,
    "UNAVAILABLE": Unavailable,
    "DEADLINE_EXCEEDED": DeadlineExceeded,
    "DATA_LOSS": DataLoss,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAUTHENTICATED": Unauthenticated,
    "CANCELLED": Cancelled,
    "INTERNAL": Internal,
}
_CODE_NAMES: Final[dict[int, str]] = {status.value[0]: status.name for status in grpc.StatusCode}
_PUSHBACK: Final = "grpc-retry-pushback-ms"


def build_error(
    code: int | str, message: str, *, reason: str = "", field: str = "", retry_after_s: float | None = None
) -> NegmineError:
    """The error for a gRPC status code (name or number) and a reason; the reason decides where both are known."""
    name = _CODE_NAMES.get(code, "UNKNOWN") if isinstance(code, int) else code
    kind = _BY_REASON.get(reason) or _BY_CODE.get(name, NegmineError)
    return kind(message, code=name, reason=reason, field=field, retry_after_s=retry_after_s)


def from_rpc(failure: Any) -> NegmineError:
    """The error for what gRPC raised (grpc.RpcError of either API), with its google.rpc.Status details."""
    reason, field, retry_after_s = "", "", None
    for key, value in failure.trailing_metadata() or ():
        if key == _PUSHBACK and str(value).isdigit():
            retry_after_s = int(value) / 1000
    for detail in _details(failure):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason = info.reason
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            field = bad.field_violations[0].field if bad.field_violations else ""
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            advice = error_details_pb2.RetryInfo()
            detail.Unpack(advice)
            retry_after_s = advice.retry_delay.seconds + advice.retry_delay.nanos / 1e9
    return build_error(
        failure.code().name, failure.details() or "", reason=reason, field=field, retry_after_s=retry_after_s
    )


def _details(failure: Any) -> list[Any]:
    """google.rpc.Status details; none where the status did not come from negmine (a proxy, gRPC itself)."""
    try:
        status = rpc_status.from_call(failure)
    except ValueError:  # the details do not match the status
        return []
    return [] if status is None else list(status.details)
