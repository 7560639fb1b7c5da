"""Captured launches: a small search is a dozen kernels, and launching each by itself would cost more than running it.

What changes from search to search is in the block that kernels read and is uploaded with the anchors, so a graph stays
valid as long as its workspace, its scanner and its number of rounds stay.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from negmine_server.device.gpu import Gpu


class Graphs:
    """Launches by what decides them. Belongs to one thread and one workspace."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._seen: set[Hashable] = set()

    def run(self, key: Hashable, enqueue: Callable[[], None]) -> None:
        """Enqueues in the current stream. The first time launch by launch, then as a graph."""
        if not self._gpu.captures:
            enqueue()
        elif key not in self._seen:
            self._seen.add(key)
            enqueue()
        else:
            if key not in self._graphs:
                self._graphs[key] = _captured(enqueue)
            self._graphs[key].replay()


def _captured(enqueue: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """The launches as a graph; nothing runs. Other threads may allocate meanwhile."""
    import torch  # noqa: PLC0415 (a server without a device has none)

    graph = torch.cuda.CUDAGraph()
    graph.capture_begin(capture_error_mode="thread_local")
    try:
        enqueue()
    finally:
        graph.capture_end()
    return graph
