"""One searcher for all collections of a width and metric on a device: they share its working memory and its kernels."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from negmine_server.domain import Metric
from negmine_server.scan.cuda.scanners import scanners_of
from negmine_server.scan.cuda.search import Searcher
from negmine_server.scan.cuda.workspace import Workspaces

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu


class Searchers:
    """The searchers of a server, made when they are first asked for. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._workspaces: dict[Gpu, Workspaces] = {}
        self._made: dict[tuple[Gpu, int, Metric], Searcher] = {}

    def of(self, gpu: Gpu, words: int, metric: Metric) -> Searcher:
        """The searcher, with its kernels compiled. Raises DeviceFailed where one does not compile."""
        key = (gpu, words, metric)
        with self._lock:
            if key not in self._made:
                workspaces = self._workspaces.setdefault(gpu, Workspaces(gpu))
                searcher = Searcher(gpu, metric, scanners_of(gpu, words), workspaces)
                searcher.prepare()
                self._made[key] = searcher
            return self._made[key]
