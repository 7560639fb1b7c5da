"""Errors from real statuses of a real server."""

from __future__ import annotations

import copy
import pickle
from collections import deque

import grpc
import negmine
import pytest
from fault_server import FaultServer
from fault_wire import status
from negmine import _exceptions

CODES = grpc.StatusCode
TABLE = [
    (CODES.INVALID_ARGUMENT, "INVALID_INPUT", negmine.InvalidInput),
    (CODES.RESOURCE_EXHAUSTED, "TOO_LARGE", negmine.TooLarge),
    (CODES.RESOURCE_EXHAUSTED, "STORAGE_FULL", negmine.StorageFull),
    (CODES.RESOURCE_EXHAUSTED, "DEVICE_FULL", negmine.DeviceFull),
    (CODES.RESOURCE_EXHAUSTED, "", negmine.ResourceExhausted),
    (CODES.NOT_FOUND, "NOT_FOUND", negmine.NotFound),
    (CODES.ALREADY_EXISTS, "ALREADY_EXISTS", negmine.AlreadyExists),
    (CODES.FAILED_PRECONDITION, "NOT_READY", negmine.NotReady),
    (CODES.FAILED_PRECONDITION, "FINGERPRINT_MISMATCH", negmine.FingerprintMismatch),
    (CODES.FAILED_PRECONDITION, "INCARNATION_MISMATCH", negmine.IncarnationMismatch),
    (CODES.FAILED_PRECONDITION, "FENCED", negmine.Fenced),
    (CODES.ABORTED, "EARLIER_BATCH_FAILED", negmine.Aborted),
    (CODES.UNIMPLEMENTED, "UNIMPLEMENTED", negmine.Unimplemented),
    (CODES.UNAVAILABLE, "OVERLOADED", negmine.Overloaded),
    (CODES.UNAVAILABLE, "STORAGE_FAILED", negmine.StorageFailed),
    (CODES.UNAVAILABLE, "DEVICE_LOST", negmine.DeviceLost),
    (CODES.UNAVAILABLE, "", negmine.Unavailable),
    (CODES.DEADLINE_EXCEEDED, "DEADLINE_PASSED", negmine.DeadlineExceeded),
    (CODES.DATA_LOSS, "DATA_LOSS", negmine.DataLoss),
    (CODES.PERMISSION_DENIED, "", negmine.PermissionDenied),
    (CODES.UNAUTHENTICATED, "", negmine.Unauthenticated),
    (CODES.CANCELLED, "", negmine.Cancelled),
    (CODES.INTERNAL, "", negmine.Internal),
    (CODES.UNKNOWN, "", negmine.NegmineError),
    (CODES.NOT_FOUND, "A_REASON_OF_LATER", negmine.NotFound),
]


@pytest.mark.parametrize(("code", "reason", "kind"), TABLE, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_status_becomes_its_error(
    code: grpc.StatusCode, reason: str, kind: type[negmine.NegmineError], faulty: FaultServer
) -> None:
    faulty.faults.fail["GetServerInfo"] = deque([status(code, "k is 0; expected 1 to 1024", reason, "k", 1.5)])
    with (
        negmine.Client(faulty.target, retry=negmine.Retry(attempts_max=1)) as client,
        pytest.raises(negmine.NegmineError, match="k is 0; expected 1 to 1024") as caught,
    ):
        client.server_info()
    error = caught.value
    assert type(error) is kind
    assert error.code == code.name
    assert error.reason == (reason or kind.reason)
    assert error.field == "k"
    assert error.retry_after_s == 1.5


def test_every_error_is_in_the_drawing_and_exported() -> None:
    kinds = {kind.__name__ for kind in vars(_exceptions).values() if isinstance(kind, type)} & set(negmine.__all__)
    ours = {
        name
        for name, kind in vars(_exceptions).items()
        if isinstance(kind, type) and issubclass(kind, negmine.NegmineError)
    }
    assert kinds == ours
    drawn = {line.strip("├└│─ ").split()[0] for line in (_exceptions.__doc__ or "").splitlines() if "─ " in line}
    assert drawn | {"NegmineError"} == ours


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"])
def test_errors_cross_process_borders(copied: object) -> None:
    error = negmine.Overloaded("full", field="queue", retry_after_s=0.5)
    error.progress = negmine.UpsertProgress(negmine.UpsertResult(3), 5)
    back = copied(error)  # type: ignore[operator]
    assert (type(back), back.message, back.field, back.retry_after_s) == (negmine.Overloaded, "full", "queue", 0.5)
    assert back.progress.result.rows == 3


def test_wrong_values_are_value_errors() -> None:
    assert issubclass(negmine.InvalidInput, ValueError)


def test_a_status_without_details_still_has_a_reason(faulty: FaultServer) -> None:
    with negmine.Client(faulty.target) as client, pytest.raises(negmine.Unimplemented) as caught:
        client.drop_collection("nothing")  # the misbehaving server does not serve it
    assert caught.value.code == "UNIMPLEMENTED"
    assert caught.value.reason == "UNIMPLEMENTED"
    assert caught.value.retry_after_s is None
