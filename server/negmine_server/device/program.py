"""Kernels of a device: what they are compiled from, and who compiles and launches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Kernel:
    """One `extern "C" __global__` function (const void*, int) of a .cu file with these macros, or of a .cubin."""

    source: Path
    name: str
    threads: int
    shared_bytes: int = 0
    """Dynamic shared memory of a block."""
    macros: tuple[tuple[str, int], ...] = ()


class Launcher(Protocol):
    """Compiles and launches kernels on one device. Safe to use from several threads."""

    def prepare(self, kernels: Sequence[Kernel]) -> None:
        """Compiles what is not yet compiled. Raises `DeviceFailed` with the compiler's log."""
        ...

    def launch(self, kernel: Kernel, blocks: tuple[int, int], argument: int, number: int) -> None:
        """Starts kernel((const void*)argument, number) on the current stream with (x, y) blocks."""
        ...
