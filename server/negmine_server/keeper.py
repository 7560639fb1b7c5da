"""The thread that keeps all collections' buckets and measures their recall, a small step of each in turn."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from threading import Event, Thread, get_native_id
from weakref import WeakKeyDictionary

from negmine_server.catalog import Catalog, State
from negmine_server.collection import Collection

LOG = logging.getLogger(__name__)
IDLE_S = 0.05  # between rounds in which there was nothing to do
NICE = 5  # searches come first: about a quarter of a core where they want both
TROUBLE_S = 5.0  # in which a collection is left alone after an error


class Keeper:
    """Runs from `start` to `stop`.

    While there are searches it works at most half of the time, so that they have the cores; but not where a collection
    is behind, whose searches look at many loose rows.

    Args:
        searching: whether there have been searches lately.
    """

    def __init__(self, catalog: Catalog, searching: Callable[[], bool] = lambda: False) -> None:
        self._catalog = catalog
        self._searching = searching
        self._left_until: WeakKeyDictionary[Collection, float] = WeakKeyDictionary()
        self._stop_asked = Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Waits for the step that is under way."""
        self._stop_asked.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, get_native_id(), NICE)
        while not self._stop_asked.is_set():
            begin = time.perf_counter()
            busy, behind = self.round()
            if not busy:
                self._stop_asked.wait(IDLE_S)
            elif not behind and self._searching():
                self._stop_asked.wait(time.perf_counter() - begin)

    def round(self) -> tuple[bool, bool]:
        """A step of every collection that serves. Returns whether any was busy, and whether one is behind."""
        busy = behind = False
        for entry in self._catalog.entries():
            collection = entry.collection
            if entry.state is not State.SERVING or collection is None or collection.rebalancer is None:
                continue
            if time.monotonic() < self._left_until.get(collection, 0.0):
                continue
            try:
                busy |= collection.rebalancer.step()
                collection.canary.step()
            except Exception:  # storage may be full: it comes back to it later, and the others need not wait
                LOG.exception("the buckets of %s could not be kept", entry.record.name)
                self._left_until[collection] = time.monotonic() + TROUBLE_S
                continue
            behind |= collection.rebalancer.behind
        return busy, behind
