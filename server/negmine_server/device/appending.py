"""Sends batches of updates to the device: each is packed into a pinned buffer, copied once and written by one kernel.

A batch that a buffer cannot hold goes in several. Arrays that lie on the device already are read there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from negmine_server.device.columns import Spec
from negmine_server.device.gpu import Gpu
from negmine_server.device.program import Kernel
from negmine_server.device.staging import ALIGNMENT, Parcel, Staging
from negmine_server.domain import I64
from negmine_server.index.pages import Column

APPEND = Kernel(Path(__file__).parent / "rows.cu", "append", threads=256)

# As in rows.cu.
FIELD = np.dtype(
    [
        ("values", np.uint64),
        ("fill", np.uint64),
        ("column", np.int32),
        ("bytes", np.int32),
        ("stride", np.int32),
        ("unit", np.int32),
    ],
    align=True,
)
UPDATE = np.dtype(
    [
        ("directory", np.uint64),
        ("fields", np.uint64),
        ("rows", np.uint64),
        ("killed", np.uint64),
        ("page_slots", np.int32),
        ("page_shift", np.int32),
        ("field_count", np.int32),
        ("row_count", np.int32),
        ("killed_count", np.int32),
        ("epoch", np.uint32),
    ],
    align=True,
)
_ROWS_MAX = 1 << 20  # of one launch: kernels count bytes in 32 bits
_UNITS = (16, 8, 4, 1)  # bytes that a thread moves at once
_WORK_PER_BLOCK = 4 * APPEND.threads

Values = NDArray[Any] | torch.Tensor


class Source(NamedTuple):
    """A column of a batch: values [n, ...], on the host or the device; None = every row gets the fill."""

    spec: Spec
    values: Values | None
    fill_bits: int = 0


class Target(NamedTuple):
    """Where rows are written."""

    directory: int  # address, [COLUMNS][page_slots]
    page_slots: int
    page_shift: int
    epoch: int


class Appender:
    """Belongs to one writer thread, on the stream that is current."""

    def __init__(self, gpu: Gpu, staging: Staging) -> None:
        self._gpu, self.staging = gpu, staging
        gpu.launcher.prepare([APPEND])

    def send(self, target: Target, rows: I64, sources: list[Source], killed: I64) -> None:
        """Writes rows [n] of the sources, and marks rows [m] dead, by as few copies and launches as buffers allow."""
        staged = [source.spec.bytes for source in sources if isinstance(source.values, np.ndarray)]
        fixed = UPDATE.itemsize + len(sources) * FIELD.itemsize + ALIGNMENT * (len(sources) + 4)
        room, row_bytes = self.staging.size - fixed, 4 + sum(staged)
        most = min(_ROWS_MAX, room // row_bytes, (1 << 31) // max((s.spec.bytes for s in sources), default=1))
        assert most > 0, f"a row of {row_bytes} bytes is beyond a buffer of {self.staging.size}"
        first, dead = 0, 0
        while first < rows.shape[0] or dead < killed.shape[0]:
            count = min(rows.shape[0] - first, most)
            deaths = killed[dead : dead + (room - count * row_bytes) // 4]
            self._send(target, rows, sources, slice(first, first + count), deaths)
            first, dead = first + count, dead + deaths.shape[0]

    def _send(self, target: Target, rows: I64, sources: list[Source], part: slice, killed: I64) -> None:
        parcel = self.staging.next()
        count = part.stop - part.start
        sources = sources if count else []
        (update,), update_at = parcel.array((1,), UPDATE)
        fields, fields_at = parcel.array((len(sources),), FIELD)
        numbers, rows_at = parcel.array((count,), np.int32)
        dying, killed_at = parcel.array(killed.shape, np.int32)
        numbers[:], dying[:] = rows[part], killed
        held: list[torch.Tensor] = []
        for number, source in enumerate(sources):
            spec, at = source.spec, 0
            if isinstance(source.values, np.ndarray):
                at = _staged(parcel, spec, source.values[part])
            elif source.values is not None:
                values = _on_device(spec, source.values[part])
                held.append(values)
                at = values.data_ptr()
            unit = next(unit for unit in _UNITS if spec.bytes % unit == spec.stride % unit == at % unit == 0)
            fields[number] = (at, source.fill_bits, spec.column, spec.bytes, spec.stride, unit)
        update["directory"], update["page_slots"], update["page_shift"], update["epoch"] = target
        update["fields"], update["field_count"] = fields_at, len(sources)
        update["rows"], update["row_count"] = rows_at, count
        update["killed"], update["killed_count"] = killed_at, killed.shape[0]
        parcel.send()
        work = max([killed.shape[0], *(count * spec.bytes // 16 for spec, _, _ in sources), count])
        blocks = min(-(-work // _WORK_PER_BLOCK), self._gpu.processors)
        self._gpu.launcher.launch(APPEND, (blocks, len(sources) + 1), update_at, 0)
        parcel.end(held)


def _staged(parcel: Parcel, spec: Spec, values: NDArray[Any]) -> int:
    array, at = parcel.array(values.shape, spec.dtype)
    if spec.column == Column.GROUPS:  # complemented, so that "none" is 0
        np.invert(values, out=array)
    else:
        np.copyto(array, values)
    return at


def _on_device(spec: Spec, values: torch.Tensor) -> torch.Tensor:
    return (~values if spec.column == Column.GROUPS else values).contiguous()
