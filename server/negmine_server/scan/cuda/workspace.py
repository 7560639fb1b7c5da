"""The memory of a search: what is uploaded, what kernels work in, what comes back; each one stretch of bytes."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmine_server.scan.cuda.block import ROUND, ROUNDS_MAX, SEARCH
from negmine_server.scan.cuda.graphs import Graphs

if TYPE_CHECKING:
    import torch

    from negmine_server.device.gpu import Gpu

_ALIGNMENT = 256
UNITS_MAX = 1 << 23  # 64 MiB; a round that finds more is done again in parts
_KEPT_BYTES_MAX = 1 << 30

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """What a workspace has room for."""

    anchors: int  # a multiple of what scanners take at once
    slots: int  # likewise
    r: int
    capacity: int
    words: int
    row_bytes: int
    values: bool  # int8 anchors come along
    dimension: int  # of float anchors, 0 = none

    @property
    def candidate_bytes(self) -> int:
        """Nearly all of it."""
        return 16 * self.anchors * self.capacity


class Field(NamedTuple):
    """An array in one of the three stretches."""

    offset: int
    shape: Shape
    dtype: np.dtype[Any]


class Layout:
    """Arrays behind one another, each at a line of its own."""

    def __init__(self, fields: dict[str, tuple[Shape, Any]]) -> None:
        self.fields: dict[str, Field] = {}
        self.size = 0
        for name, (shape, dtype) in fields.items():
            self.fields[name] = Field(self.size, shape, np.dtype(dtype))
            self.size += -(-math.prod(shape) * np.dtype(dtype).itemsize // _ALIGNMENT) * _ALIGNMENT

    def views(self, memory: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        """The arrays as they lie in host memory [size]."""
        return {
            name: memory[field.offset :][: math.prod(field.shape) * field.dtype.itemsize]
            .view(field.dtype)
            .reshape(field.shape)
            for name, field in self.fields.items()
        }


class Workspace:
    """Belongs to the one thread that searches on a device.

    `inputs` are the arrays to be filled before `upload`, `outputs` those to be read after `download` and a sync.
    """

    def __init__(self, gpu: Gpu, size: Size) -> None:
        self.size = size
        self.graphs = Graphs(gpu)
        layouts = [Layout(_inputs(size)), Layout(_working(size)), Layout(_outputs(size))]
        self.bytes = sum(layout.size for layout in layouts)
        import torch  # noqa: PLC0415 (a server without a device has none)

        self._above = gpu.empty((layouts[0].size,), torch.uint8)
        self._working = gpu.empty((layouts[1].size,), torch.uint8)
        self._below = gpu.empty((layouts[2].size,), torch.uint8)
        self._sent = gpu.pinned((layouts[0].size,), torch.uint8)  # of zeros, which pad codes
        self._received = gpu.pinned((layouts[2].size,), torch.uint8)
        self.inputs = layouts[0].views(self._sent.numpy())
        self.outputs = layouts[2].views(self._received.numpy())
        self._addresses = {
            name: tensor.data_ptr() + field.offset
            for layout, tensor in zip(layouts, (self._above, self._working, self._below), strict=True)
            for name, field in layout.fields.items()
        }
        self._counters = [
            _array(layouts[1], self._working, "unit_counts"),
            _array(layouts[2], self._below, "overflows"),
        ]
        block = self.inputs["search"]
        for name in SEARCH.names or ():
            if name in self._addresses:
                block[name] = self._addresses[name]

    @property
    def search_at(self) -> int:
        """Address of the block that kernels read."""
        return self._addresses["search"]

    @property
    def block(self) -> NDArray[np.void]:
        """The block [1] as it will be uploaded; addresses of this workspace are in it."""
        return self.inputs["search"]

    def upload(self) -> None:
        """Inputs go to the device, in the current stream."""
        self._above.copy_(self._sent, non_blocking=True)

    def download(self) -> None:
        """Outputs come back, in the current stream."""
        self._received.copy_(self._below, non_blocking=True)

    def clear_rounds(self) -> None:
        """Forgets what rounds have counted, in the current stream."""
        for counter in self._counters:
            counter.zero_()


class Workspaces:
    """Workspaces that were used last, and what all of a device's searches share. Belongs to its searching thread."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._kept: OrderedDict[Size, Workspace] = OrderedDict()
        self._units: torch.Tensor | None = None

    @property
    def units_at(self) -> int:
        """Address of room for UNITS_MAX units."""
        if self._units is None:
            import torch  # noqa: PLC0415 (a server without a device has none)

            self._units = self._gpu.empty((UNITS_MAX, 2), torch.int32)
        return self._units.data_ptr()

    def of(self, size: Size) -> Workspace:
        """The workspace of a size; raises as an allocation does, having given up those kept."""
        if size in self._kept:
            self._kept.move_to_end(size)
            return self._kept[size]
        while self._kept and size.candidate_bytes + sum(held.bytes for held in self._kept.values()) > _KEPT_BYTES_MAX:
            self._kept.popitem(last=False)
        self._kept[size] = made = Workspace(self._gpu, size)
        return made


def _array(layout: Layout, memory: torch.Tensor, name: str) -> torch.Tensor:
    field = layout.fields[name]
    return memory[field.offset : field.offset + math.prod(field.shape) * field.dtype.itemsize]


def _inputs(size: Size) -> dict[str, tuple[Shape, Any]]:
    b = size.anchors
    fields: dict[str, tuple[Shape, Any]] = {
        "search": ((1,), SEARCH),
        "rounds": ((ROUNDS_MAX,), ROUND),
        "slot_anchors": ((b,), np.int32),
        "codes": ((b, size.row_bytes), np.uint8),
        "scales": ((b,), np.float32),
        "after_scores": ((b,), np.float32),
        "after_ids": ((b,), np.int64),
        "floors": ((b,), np.float32),
        "exclude_groups": ((b,), np.int64),
        "require_tags": ((b,), np.uint64),
        "forbid_tags": ((b,), np.uint64),
        "min_steps": ((b,), np.int64),
        "table": ((64 * size.words + 1,), np.float32),
    }
    if size.values:
        fields["values"] = ((b, 64 * size.words), np.int8)
    if size.dimension:
        fields["vectors"] = ((b, size.dimension), np.float32)
    return fields


def _working(size: Size) -> dict[str, tuple[Shape, Any]]:
    b = size.anchors
    return {
        "fragments": ((size.slots, size.row_bytes), np.uint8),
        "planes": ((size.slots, 64 * size.words), np.int8),
        "ones": ((b,), np.int32),
        "totals": ((b,), np.int32),
        "bar_scores": ((b,), np.float32),
        "bar_ids": ((b,), np.int64),
        "limits": ((b,), np.int32),
        "lows": ((b,), np.float32),
        "fills": ((b,), np.int32),
        "kept": ((b,), np.int32),
        "above_now": ((b,), np.uint64),
        "candidate_scores": ((b, size.capacity), np.float32),
        "candidate_ids": ((b, size.capacity), np.int64),
        "candidate_rows": ((b, size.capacity), np.int32),
        "unit_counts": ((ROUNDS_MAX,), np.uint32),
    }


def _outputs(size: Size) -> dict[str, tuple[Shape, Any]]:
    b, r = size.anchors, size.r
    return {
        "overflows": ((ROUNDS_MAX,), np.int32),
        "counts": ((b,), np.int32),
        "above": ((b,), np.uint64),
        "ids": ((b, r), np.int64),
        "scores": ((b, r), np.float32),
        "rescored": ((b, r), np.float32),
        "versions": ((b, r), np.int64),
        "rows": ((b, r), np.int32),
    }
