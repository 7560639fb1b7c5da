"""Admission of batches before the log: what is durable must find room in the mirror."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from negmine_server.domain import Applied, Batch
from negmine_server.index.mirror import Mirror
from negmine_server.index.pages import OPTIONALS
from negmine_server.index.pageset import PageSet


class Room:
    """Knows which batches are on their way to the rows. Thread-safe.

    The bound: every row on its way takes a free place or one in a new page, an overwrite too. Rows that are about to be
    freed count as taken, blocks that only searches hold count as free.
    """

    def __init__(self, pages: PageSet, mirror: Mirror) -> None:
        self._pages, self._mirror = pages, mirror
        self._lock = Lock()
        self._waiting: dict[int, int] = {}  # rows by the batch's identity

    def reserve(self, batch: Batch, submit: Callable[[Batch], Future[Applied]]) -> Future[Applied]:
        """Submits a batch if its rows will find room. Deletes take none.

        Raises:
            DeviceFull: the mirror may have no room for it. Nothing was submitted.
        """
        if batch.deletes:
            return submit(batch)
        names = frozenset(spec.name for spec in OPTIONALS if getattr(batch, spec.name) is not None)
        with self._lock:
            rows = batch.rows + sum(self._waiting.values())
            lacking = max(0, rows - self._pages.free_rows)
            self._mirror.admit(batch.rows, -(-lacking // self._pages.page_rows), names)
            self._waiting[id(batch)] = batch.rows
        try:
            future = submit(batch)
        except BaseException:
            self.release(batch)
            raise
        future.add_done_callback(lambda _: self.release(batch))
        return future

    def release(self, batch: Batch) -> None:
        """The batch is in the rows, or will never be. Idempotent."""
        with self._lock:
            self._waiting.pop(id(batch), None)
