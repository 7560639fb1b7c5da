"""Whether the server is worth a call: after an outage, once it has answered again."""

from __future__ import annotations

from typing import Any, Final

import grpc

from negmine import _calls
from negmine._collection import Collection
from negmine._exceptions import Cancelled, DeadlineExceeded, NegmineError, Unavailable, from_rpc
from negmine.v1 import collection_pb2

AWAY: Final = (Unavailable, DeadlineExceeded, Cancelled)  # what waiting may cure; a server that ends cancels its calls


class Circuit:
    """Open from an outage until the server answers: one probe waits for it, so that the caller's calls need not.

    For one thread.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._outage: NegmineError | None = None
        self._probe: Any = None

    def outage(self) -> NegmineError | None:
        """The error that opened it; None where the server is worth a call."""
        if self._outage is not None and self._answered():
            self._outage = self._probe = None
        return self._outage

    def report(self, error: NegmineError) -> None:
        """Opens, where the error is an outage."""
        if isinstance(error, AWAY):
            self._outage = error
            self._start()

    def cancel(self) -> None:
        """Gives up the probe that is on its way."""
        if self._probe is not None:
            self._probe.cancel()

    def _start(self) -> None:
        connection = self._collection._client._connections.current()
        self._probe = connection.start(_calls.get_collection(self._collection.name), wait=True)

    def _answered(self) -> bool:
        """Whether the probe brought an answer, be it an error that mining will get too; else another one is sent."""
        if not self._probe.done():
            return False
        try:
            described = self._probe.result().collection
        except grpc.RpcError as failure:
            answered = not isinstance(from_rpc(failure), AWAY)
        except grpc.FutureCancelledError:
            answered = False
        else:
            answered = described.state != collection_pb2.SERVING_STATE_LOADING
        if not answered:
            self._start()
        return answered
