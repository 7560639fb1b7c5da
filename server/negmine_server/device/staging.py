"""Pinned buffers through which a writer sends what it has to the device, one copy a buffer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from negmine_server.device.gpu import Gpu

ALIGNMENT = 16
_PARCELS = 3  # one is filled, one copied, one read by a kernel


class Parcel:
    """A pinned buffer and its place on the device: arrays are put behind one another, then sent at once."""

    def __init__(self, gpu: Gpu, size: int) -> None:
        self._gpu = gpu
        self._pinned = gpu.pinned(size, torch.uint8)
        self._buffer: NDArray[np.uint8] = self._pinned.numpy()
        self._device = gpu.empty(size, torch.uint8)
        self._used = 0
        self._mark: torch.cuda.Event | None = None
        self._held: tuple[object, ...] = ()

    def begin(self) -> None:
        """Empties it, once the device has read what was in it."""
        self._gpu.wait_here(self._mark)
        self._used, self._held = 0, ()

    def array(self, shape: tuple[int, ...], dtype: Any) -> tuple[NDArray[Any], int]:
        """An array to be filled before `send`, and the address at which kernels will find it."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        at = self._used
        self._used += -(-size // ALIGNMENT) * ALIGNMENT
        assert self._used <= len(self._buffer), (shape, dtype)
        return self._buffer[at : at + size].view(dtype).reshape(shape), self._device.data_ptr() + at

    def send(self) -> None:
        """Copies what was put in, in the current stream."""
        self._device[: self._used].copy_(self._pinned[: self._used], non_blocking=True)

    def send_to(self, tensor: torch.Tensor) -> None:
        """Copies what was put in to a tensor of that size, in the current stream."""
        flat = tensor.view(-1).view(torch.uint8)
        flat.copy_(self._pinned[: flat.shape[0]], non_blocking=True)

    def end(self, held: Iterable[object] = ()) -> None:
        """All that reads it is in the current stream now; so does it read what is held until then."""
        self._mark, self._held = self._gpu.mark(), tuple(held)


class Staging:
    """A ring of parcels of `size` bytes. Belongs to one writer thread."""

    def __init__(self, gpu: Gpu, size: int) -> None:
        self.size = size
        self.device_bytes = _PARCELS * size
        self._parcels = [Parcel(gpu, size) for _ in range(_PARCELS)]
        self._next = 0

    def next(self) -> Parcel:
        """An empty parcel; waits for the device where all are under way."""
        parcel = self._parcels[self._next]
        self._next = (self._next + 1) % _PARCELS
        parcel.begin()
        return parcel
