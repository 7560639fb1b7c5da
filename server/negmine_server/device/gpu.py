"""One device: its memory, two streams, one searching thread, and whether it still answers.

Searches and updates have a stream each, so neither waits for the other on the host; an event (`mark`, `wait_for`)
orders a search behind the updates that it must see. Memory belongs to the stream that is current when it is allocated:
torch's allocator gives a freed block out again to that stream at once, so whoever lets go of memory that another stream
reads must have waited for that stream first.

A CPU stands in for a device with a launcher that emulates kernels: streams are then nothing, and all is done when a
call returns. Any number of `Gpu` may share one physical device.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from negmine_server import metrics
from negmine_server.device.program import Launcher
from negmine_server.errors import DeviceFailed, DeviceFull, DeviceLost

LOG = logging.getLogger(__name__)
RETRY_AFTER_MS = 10_000  # a restart takes about as long

_SYNCS = metrics.counter("negmine_device_syncs", "Times that a thread waited for a device.", "device")
_LOST = metrics.counter("negmine_devices_lost", "Devices that stopped answering.")

Shape = int | tuple[int, ...]


class Gpu:
    """A device and who works on it. Thread-safe.

    Args:
        torch_device: with an index, or the CPU.
        launcher: of kernels on this device.
        label: names it in metrics, logs and errors; by default the torch device.

    Attributes:
        problem: why the device answers no more; None while it does.
        on_lost: called once, by whoever finds that the device answers no more.
        worker: the one thread on which the device's searches run.
        captures: whether launches can be captured into graphs.
    """

    def __init__(self, torch_device: torch.device, launcher: Launcher, *, label: str = "") -> None:
        self.torch_device = torch_device
        self.launcher = launcher
        self.label = label or str(torch_device)
        self.problem: DeviceLost | None = None
        self.on_lost: Callable[[DeviceLost], None] | None = None
        self.captures = torch_device.type == "cuda"
        self.worker: Executor = ThreadPoolExecutor(1, thread_name_prefix=f"device {self.label}")
        self._lock = threading.Lock()
        self._syncs = _SYNCS.labels(self.label)
        self._searches: torch.cuda.Stream | None = None
        self._updates: torch.cuda.Stream | None = None
        self.name, self.capability, self.processors, self.memory_bytes = "simulated", (9, 0), 2, 0
        if torch_device.type == "cuda":
            self._start()

    def searching(self) -> torch.cuda.StreamContext:
        """Inside, the stream of searches is the current one."""
        return torch.cuda.stream(self._searches)

    def updating(self) -> torch.cuda.StreamContext:
        """Inside, the stream of updates is the current one."""
        return torch.cuda.stream(self._updates)

    def empty(self, shape: Shape, dtype: torch.dtype) -> torch.Tensor:
        """Memory on the device, of the current stream."""
        return torch.empty(shape, dtype=dtype, device=self.torch_device)

    def zeros(self, shape: Shape, dtype: torch.dtype) -> torch.Tensor:
        """Zeroed memory on the device, of the current stream."""
        return self.empty(shape, dtype).zero_()

    def pinned(self, shape: Shape, dtype: torch.dtype) -> torch.Tensor:
        """Zeroed memory on the host that copies to and from the device need not stage.

        Kernels may read it at the same address: with unified addressing all memory of cudaHostAlloc is mapped.
        """
        return torch.zeros(shape, dtype=dtype, pin_memory=self.torch_device.type == "cuda")

    def free_bytes(self) -> int:
        """Memory that could still be had: the device's, and what torch keeps without a use."""
        if self.torch_device.type != "cuda":
            return sys.maxsize
        free, _ = torch.cuda.mem_get_info(self.torch_device)
        kept = torch.cuda.memory_reserved(self.torch_device) - torch.cuda.memory_allocated(self.torch_device)
        return int(free) + kept

    def mark(self) -> torch.cuda.Event | None:
        """What the current stream has been given so far, to be waited for."""
        if self.torch_device.type != "cuda":
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def wait_for(self, mark: torch.cuda.Event | None) -> None:
        """The current stream goes on once what was marked is done. The host does not wait."""
        if mark is not None:
            mark.wait()

    def wait_here(self, mark: torch.cuda.Event | None) -> None:
        """The calling thread waits until what was marked is done; counted where it was not."""
        if mark is not None and not mark.query():
            self._syncs.inc()
            mark.synchronize()

    def sync(self) -> None:
        """The calling thread waits for the current stream; counted."""
        self._syncs.inc()
        if self.torch_device.type == "cuda":
            torch.cuda.current_stream(self.torch_device).synchronize()

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turns what a device raises into DeviceFull and DeviceLost; once lost, it raises the latter at once."""
        if self.problem is not None:
            raise self.problem
        try:
            yield
        except Exception as error:
            if is_full(error):
                raise DeviceFull(f"{self.label} has no memory left: {_first_line(error)}") from error
            if is_loss(error):
                raise self._lose(error) from error
            raise

    def close(self) -> None:
        """Finishes the searches that are queued and ends the thread."""
        self.worker.shutdown()

    def _start(self) -> None:
        try:
            properties = torch.cuda.get_device_properties(self.torch_device)
            self._searches = torch.cuda.Stream(self.torch_device, priority=-1)  # goes first where both could
            self._updates = torch.cuda.Stream(self.torch_device)
        except (RuntimeError, AssertionError, ValueError) as error:  # no driver, no such device, torch without CUDA
            raise DeviceFailed(f"{self.label} cannot be used: {_first_line(error)}") from error
        self.name, self.capability = properties.name, (properties.major, properties.minor)
        self.processors, self.memory_bytes = properties.multi_processor_count, properties.total_memory

    def _lose(self, error: Exception) -> DeviceLost:
        with self._lock:
            if self.problem is not None:
                return self.problem
            text = f"{self.label} answers no more ({_first_line(error)}); nothing is lost: restart the server"
            self.problem = DeviceLost(text, retry_after_ms=RETRY_AFTER_MS)
        LOG.error("%s", self.problem, exc_info=error)
        _LOST.inc()
        if self.on_lost is not None:
            self.on_lost(self.problem)
        return self.problem


def is_full(error: Exception) -> bool:
    """Whether a device, or pinned memory, had no room. The device goes on."""
    return isinstance(error, torch.OutOfMemoryError) or (is_loss(error) and "out of memory" in str(error).lower())


def is_loss(error: Exception) -> bool:
    """Whether the error comes from CUDA: after any but a lack of memory the context is not to be trusted."""
    if type(error).__module__.split(".")[0] == "cuda":  # cuda.core's errors have no public base
        return True
    return isinstance(error, torch.AcceleratorError) or (
        isinstance(error, RuntimeError) and str(error).startswith(("CUDA ", "CUBLAS", "cuBLAS", "Triton Error [CUDA]"))
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
