"""The card that is measured, or what stands in for it: torch on the processor and kernels that g++ compiles."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from negmine_server import metrics
from negmine_server.device.devices import open_devices
from negmine_server.device.gpu import Gpu
from negmine_server.domain import Metric
from negmine_server.scan.cuda.scanners import named, scanners_of
from negmine_server.scan.cuda.search import Searcher
from negmine_server.scan.cuda.workspace import Workspaces

from gpu import rooflines
from gpu.grid import SIZES

T = TypeVar("T")
TESTS = Path(__file__).resolve().parents[2] / "tests" / "server"
SIMULATED_ROWS = {"1e6": 1024, "1e7": 2048, "1e8": 4096, "1e9": 8192}
SIMULATED_ANCHORS = {1: 1, 64: 5, 1024: 17, 4096: 33}
SHARE_OF_MEMORY = 0.85  # that rows may take; searches and peers need some too


class Skipped(Exception):
    """A cell cannot run here; says why."""


class Card:
    """One device, and how large cells are on it.

    Attributes:
        small: whether it is simulated, where all sizes are toys.
    """

    def __init__(self, *, simulate: bool) -> None:
        self.small = simulate
        self.gpu = simulated() if simulate else open_devices("0")[0]
        self._workspaces = Workspaces(self.gpu)

    @cached_property
    def rooflines(self) -> rooflines.Rooflines:
        """Measured when first asked for; on the worker."""
        return rooflines.measure(self.gpu, small=self.small)

    def searcher(self, words: int, symmetric: str = "", asymmetric: str = "") -> Searcher:
        """Searches codes by cosine with the scanners of these names, the device's own where none is named."""
        scanners = scanners_of(self.gpu, words)
        if symmetric:
            scanners = replace(scanners, symmetric=named(symmetric, self.gpu, words, symmetric=True))
        if asymmetric:
            scanners = replace(scanners, asymmetric=named(asymmetric, self.gpu, words))
        searcher = Searcher(self.gpu, Metric.COSINE, scanners, self._workspaces)
        searcher.prepare()
        return searcher

    @property
    def page_rows(self) -> int:
        """As in the product; a toy has several pages all the same."""
        return 512 if self.small else 65_536

    def rows(self, label: str) -> int:
        """How many "1e8" are."""
        return SIMULATED_ROWS[label] if self.small else SIZES[label]

    def anchors(self, b: int) -> int:
        """How many b are."""
        return SIMULATED_ANCHORS[b] if self.small else b

    def k(self, k: int) -> int:
        """How many k are."""
        return min(k, 8) if self.small else k

    def rounds(self, rounds: int) -> int:
        """How often a call is timed."""
        return 1 if self.small else rounds

    def fits(self, bytes_: int) -> bool:
        """Whether the device has room for so many bytes."""
        return self.small or bytes_ <= SHARE_OF_MEMORY * self.gpu.memory_bytes

    def on_worker(self, call: Callable[[], T]) -> T:
        """Runs a call on the thread that searches run on."""
        return self.gpu.worker.submit(call).result()

    def wait(self) -> None:
        """Until everything on the device is done, whoever asked for it."""
        if not self.small:
            torch.cuda.synchronize(self.gpu.torch_device)

    def syncs(self) -> float:
        """How often the engine has waited for the device so far."""
        return metrics.REGISTRY.get_sample_value("negmine_device_syncs_total", {"device": self.gpu.label}) or 0.0


def simulated() -> Gpu:
    """The device of the tests, where there is none. Triton must not have been imported without its interpreter."""
    assert os.environ.get("TRITON_INTERPRET") == "1", "the interpreter is chosen before Triton is imported"
    sys.path.append(str(TESTS))
    from simulated import simulated_gpu

    return simulated_gpu()
