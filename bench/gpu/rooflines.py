"""The card's ceilings, measured: copying and reading device memory, 1-bit and int8 products, population counts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from harness.result import Result
from negmine_server.device.gpu import Gpu
from negmine_server.device.program import Kernel

SOURCE = Path(__file__).with_name("rooflines.cu")
THREADS, WARP, CHAINS = 256, 32, 8
KERNELS = {name: Kernel(SOURCE, name, THREADS) for name in ("read_words", "multiply_bits", "count_bits")}
PRODUCT_BITS = 16 * 8 * 256  # of one 1-bit tensor instruction
ROUNDS = 7
PROBE = np.dtype([("words", np.uint64), ("count", np.uint64), ("out", np.uint64)])


@dataclass(frozen=True)
class Rooflines:
    """Rates a second. Operations: a multiplication and an addition are two."""

    copy_bytes: float  # read and written
    read_bytes: float
    bit_operations: float  # AND and count of a bit, on tensor cores
    int8_operations: float
    counts: float  # population counts of 32 bits

    def results(self) -> list[Result]:
        """`gpu.roofline.…`, what the card does; nothing here is ours."""
        named = {
            "copy": (self.copy_bytes / 1e9, "GB/s"),
            "read": (self.read_bytes / 1e9, "GB/s"),
            "b1": (self.bit_operations / 1e12, "TOP/s"),
            "int8": (self.int8_operations / 1e12, "TOP/s"),
            "popc": (self.counts / 1e12, "T/s"),
        }
        return [Result(f"gpu.roofline.card.{name}", value, unit, "higher") for name, (value, unit) in named.items()]

    def as_params(self) -> dict[str, float]:
        """For the figures that are shares of them."""
        return asdict(self)


def measure(gpu: Gpu, *, small: bool) -> Rooflines:
    """Takes a second or two; `small` = toy sizes, whose rates mean nothing. To be called on the device's worker."""
    read_words, multiply_bits, count_bits = KERNELS.values()
    gpu.launcher.prepare(list(KERNELS.values()))
    size = (1 << 16) if small else (4 << 30)
    blocks = 1 if small else 8 * gpu.processors
    times = 4 if small else 20_000
    words = torch.randint(-(2**63), 2**63 - 1, (size // 8,), dtype=torch.int64, device=gpu.torch_device)
    out = gpu.empty((blocks * THREADS,), torch.int32)
    probe = torch.from_numpy(np.array([(words.data_ptr(), size // 16, out.data_ptr())], PROBE).view(np.uint8))
    probe = probe.to(gpu.torch_device)

    def seconds(call: Callable[[], object]) -> float:
        """Median of a few calls, each waited for."""
        taken = []
        for turn in range(ROUNDS + 2):
            gpu.sync()
            begin = time.perf_counter()
            call()
            gpu.sync()
            if turn >= 2:
                taken.append(time.perf_counter() - begin)
        return median(taken)

    def launched(kernel: Kernel, number: int) -> float:
        return seconds(lambda: gpu.launcher.launch(kernel, (blocks, 1), probe.data_ptr(), number))

    target = torch.empty_like(words)
    side = 64 if small else 16_384
    left, right = (torch.randint(-8, 8, (side, side), dtype=torch.int8, device=gpu.torch_device) for _ in range(2))
    threads = blocks * THREADS
    return Rooflines(
        copy_bytes=2 * size / seconds(lambda: target.copy_(words)),
        read_bytes=size / launched(read_words, 1),
        bit_operations=2 * PRODUCT_BITS * CHAINS * times * (threads // WARP) / launched(multiply_bits, times),
        int8_operations=2 * side**3 / seconds(lambda: torch._int_mm(left, right.t())),
        counts=4 * CHAINS * times * threads / launched(count_bits, times),
    )
