"""Simulated devices: this machine's memory and cores, and kernels that are emulated."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib import import_module
from threading import Lock

import torch
from cuda_emulator.emulated import EmulatedLauncher
from negmine_server.device.gpu import Gpu
from negmine_server.device.program import Kernel, Launcher

ON_A_CARD = os.environ.get("NEGMINE_GPU") == "1"  # as `make gpu` runs tests
ONE_AT_A_TIME = Lock()  # the interpreter changes Triton's own functions while it runs


class SimulatedLauncher(EmulatedLauncher):
    """`EmulatedLauncher` that gives kernels in Triton to its interpreter."""

    def prepare(self, kernels: Sequence[Kernel]) -> None:
        super().prepare([kernel for kernel in kernels if kernel.source.suffix != ".py"])

    def launch(self, kernel: Kernel, blocks: tuple[int, int], argument: int, number: int) -> None:
        if kernel.source.suffix != ".py":
            super().launch(kernel, blocks, argument, number)
            return
        function = getattr(import_module(f"negmine_server.scan.cuda.{kernel.source.stem}"), kernel.name)
        with ONE_AT_A_TIME:
            function[blocks](argument, number, **dict(kernel.macros))


def simulated_gpu(label: str = "simulated", launcher: Launcher | None = None) -> Gpu:
    """A device on the CPU; with NEGMINE_GPU=1 and no launcher of the test's own, the first GPU."""
    if launcher is None and ON_A_CARD:
        from negmine_server.device.launcher import NvrtcLauncher

        card = torch.device("cuda", 0)
        return Gpu(card, NvrtcLauncher(card), label=label)
    return Gpu(torch.device("cpu"), launcher or SimulatedLauncher(), label=label)


def simulated(count: int) -> Callable[[str], list[Gpu]]:
    """What opens that many devices, whatever numbers it is given."""
    return lambda _: [simulated_gpu(f"simulated:{number}") for number in range(count)]
