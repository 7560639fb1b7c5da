"""Domain errors. `rpc/errors.py` maps each to one gRPC status; nothing below rpc knows gRPC.

NegmineError
├── InvalidInput          a value in the request is wrong
│   └── TooLarge          a value is beyond a limit of this server
├── NotFound              no such collection, alias or snapshot
├── AlreadyExists
├── NotReady              the collection cannot serve this now, and retrying unchanged will not help
│   ├── FingerprintMismatch
│   ├── IncarnationMismatch
│   └── Fenced            another owner took over a shard's log
├── Aborted               an earlier batch of this writer failed: resend from there
├── Unimplemented         a field or method that this version does not serve
├── Overloaded            a bounded queue is full; retry after `retry_after_ms`
├── Loading               the collection's logs are being replayed; retry after `retry_after_ms`
├── Draining              the server is about to stop; resume the stream with the next one
├── StorageFull           the data folder has no room; nothing of the batch was applied
├── StorageFailed         the data folder cannot be written; the outcome of the batch is unknown
├── DeviceFull            the device has no room for more rows; nothing of the batch was applied
├── DeviceLost            the device fell off: its collections are served again after a restart
├── DeviceFailed          the device cannot be used; the server does not start
├── DeadlinePassed        the caller's deadline passed before the work began
└── DataLoss              stored bytes are corrupt; the collection is not served
"""

from __future__ import annotations


class NegmineError(Exception):
    """Base of every error a user can cause or should see. `field` is the request's field, `reason` UPPER_SNAKE."""

    reason = "INTERNAL"

    def __init__(self, message: str, *, field: str = "", reason: str = "", retry_after_ms: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.reason = reason or type(self).reason
        self.retry_after_ms = retry_after_ms


class InvalidInput(NegmineError):
    reason = "INVALID_INPUT"


class TooLarge(InvalidInput):
    reason = "TOO_LARGE"


class NotFound(NegmineError):
    reason = "NOT_FOUND"


class AlreadyExists(NegmineError):
    reason = "ALREADY_EXISTS"


class NotReady(NegmineError):
    reason = "NOT_READY"


class FingerprintMismatch(NotReady):
    reason = "FINGERPRINT_MISMATCH"


class IncarnationMismatch(NotReady):
    reason = "INCARNATION_MISMATCH"


class Fenced(NotReady):
    reason = "FENCED"


class Aborted(NegmineError):
    reason = "EARLIER_BATCH_FAILED"


class Unimplemented(NegmineError):
    reason = "UNIMPLEMENTED"


class Overloaded(NegmineError):
    reason = "OVERLOADED"


class Loading(NegmineError):
    reason = "LOADING"


class Draining(NegmineError):
    reason = "DRAINING"


class StorageFull(NegmineError):
    reason = "STORAGE_FULL"


class StorageFailed(NegmineError):
    reason = "STORAGE_FAILED"


class DeviceFull(NegmineError):
    reason = "DEVICE_FULL"


class DeviceLost(NegmineError):
    reason = "DEVICE_LOST"


class DeviceFailed(NegmineError):
    reason = "DEVICE_FAILED"


class DeadlinePassed(NegmineError):
    reason = "DEADLINE_PASSED"


class DataLoss(NegmineError):
    reason = "DATA_LOSS"
