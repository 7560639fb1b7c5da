"""The devices of a server: which it has, what each scans with, and on which of them shards are placed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from negmine_server import metrics
from negmine_server.errors import DeviceFailed

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu

LOG = logging.getLogger(__name__)
# What is imported, and the package that brings it.
_NEEDED = {"torch": "torch", "triton": "triton", "cuda.bindings": "cuda-bindings"}
_OTHERWISE = "; or run with --device cpu"

_DEVICE = metrics.gauge(
    "negmine_device_info",
    "Devices that scan, and with what; 1 each.",
    "device",
    "name",
    "capability",
    "symmetric",
    "asymmetric",
)


class Scanners(NamedTuple):
    """What a device scans with."""

    symmetric: str  # "b1" = 1-bit tensor cores, "int8" = int8 tensor cores, "popc" = XOR and POPC
    asymmetric: str  # "int8", or "planes" = AND and POPC over the bits of the anchor's values


def scanners_for(capability: tuple[int, int]) -> Scanners:
    """The fastest scanners of a compute capability.

    mma.sync.m16n8k256.b1 with and.popc is one instruction (BMMA.168256.AND.POPC) from 8.0 to 9.0, not there before, and
    from 10.0 on emulated by dozens; Triton compiles int8 products for tensor cores from 8.0 on.
    """
    if capability < (8, 0):
        return Scanners("popc", "planes")
    return Scanners("b1" if capability < (10, 0) else "int8", "int8")


def open_devices(numbers: str) -> list[Gpu]:
    """The CUDA devices of these numbers ("0,1"; "" = all). A number that stands there twice is opened twice.

    Raises:
        DeviceFailed: a package, the driver or a device is not there; the message says what to do.
    """
    lacking = [package for module, package in _NEEDED.items() if not _is_there(module)]
    if lacking:
        raise DeviceFailed(
            f"--device cuda needs {', '.join(lacking)}: pip install 'negmine-server[gpu]'{_OTHERWISE}",
        )
    import torch  # noqa: PLC0415 (a server without a device has none)

    if torch.version.cuda is None:
        raise DeviceFailed(
            f"--device cuda: torch {torch.__version__} is built without CUDA; install a build with it, "
            f"as https://pytorch.org says for your driver{_OTHERWISE}"
        )
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        reason = _first_line(error).rstrip(".")
        raise DeviceFailed(f"--device cuda: {reason} (nvidia-smi must list a device){_OTHERWISE}") from error
    torch.backends.cuda.matmul.allow_tf32 = False
    from negmine_server.device.gpu import Gpu  # noqa: PLC0415 (it imports torch)
    from negmine_server.device.launcher import NvrtcLauncher  # noqa: PLC0415

    gpus = []
    for number, label in _chosen(numbers, torch.cuda.device_count()):
        device = torch.device("cuda", number)
        try:
            gpus.append(Gpu(device, NvrtcLauncher(device), label=label))
        except RuntimeError as error:  # another process may have it to itself
            raise DeviceFailed(f"--device cuda: device {number} cannot be used: {_first_line(error)}") from error
    return gpus


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its parent is not
        return False


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _chosen(numbers: str, count: int) -> list[tuple[int, str]]:
    """Numbers and labels of the devices asked for, of those that there are."""
    wanted = [int(number) for number in numbers.split(",")] if numbers else list(range(count))
    unknown = [number for number in wanted if number >= count]
    if unknown or not wanted:
        there = f"0 to {count - 1}" if count else "none"
        raise DeviceFailed(f"--devices names {unknown[0] if unknown else 'none'}; there are devices {there}")
    times: Counter[int] = Counter()
    labelled = []
    for number in wanted:
        times[number] += 1
        labelled.append((number, f"cuda:{number}" + (f"/{times[number]}" if times[number] > 1 else "")))
    return labelled


class Devices:
    """The devices of a server in a row. Thread-safe.

    Args:
        on_lost: called when one answers no more, by whoever finds it.
    """

    def __init__(self, gpus: Sequence[Gpu], on_lost: Callable[[], None] = lambda: None) -> None:
        assert gpus, "a server with devices has one"
        self.gpus = tuple(gpus)
        self._next = 0
        self._lock = Lock()
        for gpu in self.gpus:
            gpu.on_lost = lambda _: on_lost()
            capability, scanners = "{}.{}".format(*gpu.capability), scanners_for(gpu.capability)
            LOG.info("device %s: %s, capability %s, scans by %s and %s", gpu.label, gpu.name, capability, *scanners)
            _DEVICE.labels(gpu.label, gpu.name, capability, *scanners).set(1)

    @property
    def description(self) -> str:
        """What they are and scan with, like "NVIDIA H200 ×2: b1, int8"."""
        kinds = Counter((gpu.name, scanners_for(gpu.capability)) for gpu in self.gpus)
        return "; ".join(
            f"{name}{f' ×{count}' if count > 1 else ''}: {', '.join(dict.fromkeys(scanners))}"
            for (name, scanners), count in kinds.items()
        )

    @property
    def lost(self) -> bool:
        """Whether one answers no more."""
        return any(gpu.problem is not None for gpu in self.gpus)

    def place(self, shards: int) -> list[Gpu]:
        """A device that is not lost for each of a collection's shards: in turn, on from where the last one's stopped.

        Raises:
            DeviceLost: all of them are.
        """
        working = [gpu for gpu in self.gpus if gpu.problem is None]
        if not working:
            assert self.gpus[0].problem is not None
            raise self.gpus[0].problem
        with self._lock:
            first, self._next = self._next, self._next + shards
        return [working[(first + shard) % len(working)] for shard in range(shards)]

    def close(self) -> None:
        """Ends the devices' threads."""
        for gpu in self.gpus:
            gpu.close()
            _DEVICE.remove(gpu.label, gpu.name, "{}.{}".format(*gpu.capability), *scanners_for(gpu.capability))
