"""Simulated devices: this machine's memory and cores, and kernels that are emulated."""

from __future__ import annotations

from collections.abc import Callable

import torch
from cuda_emulator.emulated import EmulatedLauncher
from negmine_server.device.gpu import Gpu
from negmine_server.device.program import Launcher


def simulated_gpu(label: str = "simulated", launcher: Launcher | None = None) -> Gpu:
    """A device on the CPU."""
    return Gpu(torch.device("cpu"), launcher or EmulatedLauncher(), label=label)


def simulated(count: int) -> Callable[[str], list[Gpu]]:
    """What opens that many devices, whatever numbers it is given."""
    return lambda _: [simulated_gpu(f"simulated:{number}") for number in range(count)]
