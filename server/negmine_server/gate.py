"""The gate of a collection's writes: a freeze shuts it and waits until what went through is durable or failed."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition

from negmine_server.domain import Applied
from negmine_server.engine.interface import Sent
from negmine_server.errors import Overloaded

RETRY_AFTER_MS = 200


class Gate:
    """Thread-safe. `name` is the collection's, for messages."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_shut = False
        self._under_way = 0  # calls and batches
        self._changed = Condition()

    def write(self, send: Callable[[], list[Sent]]) -> list[Sent]:
        """Lets a write through. Raises Overloaded while the gate is shut."""
        with self._changed:
            if self._is_shut:
                raise Overloaded(f"{self._name!r} is fixing its encoder; retry", retry_after_ms=RETRY_AFTER_MS)
            self._under_way += 1
        try:
            sent = send()
            with self._changed:
                self._under_way += len(sent)
            for part in sent:
                part.outcome.add_done_callback(self._ended)
            return sent
        finally:
            self._ended()

    def shut(self) -> bool:
        """Lets no more through and waits for what is under way. False: it is shut already."""
        with self._changed:
            if self._is_shut:
                return False
            self._is_shut = True
            self._changed.wait_for(lambda: self._under_way == 0)
            return True

    def open(self) -> None:
        """Lets writes through again."""
        self._is_shut = False

    def _ended(self, _: Future[Applied] | None = None) -> None:
        with self._changed:
            self._under_way -= 1
            self._changed.notify_all()
