"""The rows of a shard on a device: pages in its memory, updated in place while searches run.

Row numbers, and what happens to rows, are the host's (`index.pageset`): an overwrite is a new row at the tail and a
death, a move between buckets and a compaction are the same, and a delete is one store. So nothing is ever sorted or
compacted here: the 1-bit kernel counts the ones of each tile as it loads it, and wants no order of rows.

    write, kill → (publish) → pinned buffer → one copy → one kernel, on the stream of updates → event → Mirrored

A search holds a view, the view its `Mirrored`, and that the pages and the directory that the search reads. Searches let
go once the host has waited for them, so memory comes free when no search reads it any more. It was allocated on the
stream of updates and goes back to the same stream's pool: whatever is written there next is in order behind all that
was. The event orders a search behind the updates that its view shows; later ones change nothing that it can see
(rows.cu says why).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from negmine_server import metrics
from negmine_server.device.appending import Appender, Source, Target
from negmine_server.device.columns import BORN_EPOCH, Spec, Specs
from negmine_server.device.directory import Directory
from negmine_server.device.gpu import Gpu
from negmine_server.device.staging import Staging
from negmine_server.domain import I64, U64, VectorsOn, VectorStore
from negmine_server.errors import DeviceFull, DeviceLost, NegmineError
from negmine_server.index.pages import Allocate, Column

LOG = logging.getLogger(__name__)

TILE_ROWS = 256  # of scan/cuda/search.cuh
STAGING_BYTES = 4 << 20
RESERVE_BYTES = 2 << 30  # of the device, for searches and what encodes, where rows have no budget
_NOTHING: I64 = np.zeros(0, np.int64)
T = TypeVar("T")

_GIVEN_UP = metrics.counter(
    "negmine_device_mirrors_given_up", "Shards whose rows are no longer followed on their device.", "device"
)


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Mirrored:
    """What a search reads on the device: immutable but for rows that it does not see. Valid behind `mark`."""

    directory: int  # address of [COLUMNS][page_slots] addresses, 0 = the page lacks the column or is closed
    page_slots: int
    epoch: int
    row_bytes: int  # of a stored code
    store: int  # Store of search.cuh
    weights: tuple[float, float]  # the smallest and the largest norm that any row ever had; 1, 1 without
    mark: torch.cuda.Event | None
    memory: tuple[object, ...]  # kept alive


class _Memory(NamedTuple):
    directory: Directory
    appender: Appender


class DevicePages:
    """`Mirror` on a device.

    Args:
        words: of a code.
        dimension: of stored vectors.
        page_rows: as of the rows; at least TILE_ROWS.
        budget_bytes: what upserts may make it take on the device; None = what is free, less a reserve.
        vectors_on: where stored vectors are: in the pages, or in the host's own, then pinned.
        staging_bytes: of each of three buffers.

    Memory of closed pages that old views still hold is not counted.
    """

    def __init__(
        self,
        gpu: Gpu,
        words: int,
        store: VectorStore,
        dimension: int,
        page_rows: int,
        *,
        budget_bytes: int | None = None,
        vectors_on: VectorsOn = VectorsOn.DEVICE,
        staging_bytes: int = STAGING_BYTES,
    ) -> None:
        assert page_rows % TILE_ROWS == 0, page_rows
        self.gpu = gpu
        self.problem: NegmineError | None = None
        self._specs = Specs(words, store, dimension)
        self._store = list(VectorStore).index(store)
        self._vectors_here = vectors_on is VectorsOn.HOST and store is not VectorStore.NONE
        self._page_rows, self._budget = page_rows, budget_bytes
        self._expected: frozenset[str] = frozenset()  # optional columns that batches had
        self._weights = (math.inf, -math.inf)
        self._opening: list[int] = []
        self._written: list[tuple[I64, dict[str, Any], torch.cuda.Event | None]] = []
        self._killed: list[I64] = []
        self._mark: torch.cuda.Event | None = None  # of all that was sent
        self._memory: _Memory | None = None
        self._memory = self._follow(
            lambda: _Memory(Directory(gpu, self._specs, page_rows), Appender(gpu, Staging(gpu, staging_bytes)))
        )

    @property
    def allocate_vectors(self) -> Allocate | None:
        """Pinned arrays where vectors stay on the host, for its pages."""
        return self._pinned_vectors if self._vectors_here else None

    @property
    def bytes(self) -> int:
        """Taken on the device: open pages, the directory and buffers."""
        memory = self._memory
        return 0 if memory is None else memory.directory.bytes + memory.appender.staging.device_bytes

    def admit(self, rows: int, pages: int, names: frozenset[str]) -> None:
        """Raises DeviceFull where these rows may go beyond the budget; a page is kept free for compaction.

        Raises DeviceLost where the device is.
        """
        memory, problem = self._memory, self.problem or self.gpu.problem
        if problem is not None:
            raise problem
        self._expected |= names
        if memory is None:
            return
        optional = [spec for name, spec in self._specs.optional.items() if name in self._expected]
        epochs = 2 * BORN_EPOCH.stride  # and when rows died
        page_row_bytes = epochs + sum(spec.stride for spec in (*self._specs.base, *optional, *self._vectors))
        opened = memory.directory.having(Column.CODES)
        touched = min(opened, 2 + rows // TILE_ROWS)  # pages that have free blocks
        grown = sum(min(opened - memory.directory.having(spec.column), touched) * spec.stride for spec in optional)
        needed = self._page_rows * ((pages + 1) * page_row_bytes + grown)
        if self._budget is not None:
            room = self._budget - self.bytes
        elif pages or grown:
            room = self.gpu.free_bytes() - RESERVE_BYTES
        else:  # in pages that are there
            return
        if needed > room:
            raise DeviceFull(
                f"{self.gpu.label} has {max(room, 0)} bytes left for these rows, and {rows} more may need {needed}; "
                "delete some, or give the collection more (--device-memory)"
            )

    def open_page(self, slot: int) -> None:
        """See Mirror."""
        self._opening.append(slot)

    def close_page(self, slot: int) -> None:
        """See Mirror."""
        if slot in self._opening:
            self._opening.remove(slot)
        elif self._memory is not None:
            self._memory.directory.close(slot)

    def write(self, rows: I64, items: dict[str, Any]) -> None:
        """See Mirror. Columns may be tensors on the device, of the stream that is current now."""
        if rows.shape[0]:
            mark = self.gpu.mark() if any(isinstance(values, torch.Tensor) for values in items.values()) else None
            self._written.append((rows, items, mark))

    def kill(self, rows: I64) -> None:
        """See Mirror."""
        self._killed.append(rows)

    def renumber(self, epoch: int) -> None:
        """See Mirror."""

        def renumber() -> None:
            self._flush(epoch, None).directory.renumber()

        self._follow(renumber)

    def publish(self, epoch: int, vectors: U64) -> Mirrored | None:
        """See Mirror."""

        def publish() -> Mirrored:
            directory = self._flush(epoch, vectors).directory
            return Mirrored(
                directory=directory.address,
                page_slots=directory.slots,
                epoch=epoch,
                row_bytes=self._specs.row_bytes,
                store=self._store,
                weights=self._weights if self._weights[0] <= self._weights[1] else (1.0, 1.0),
                mark=self._mark,
                memory=directory.memory,
            )

        return self._follow(publish)

    @property
    def _vectors(self) -> tuple[Spec, ...]:
        return () if self._vectors_here else self._specs.vectors

    def _follow(self, act: Callable[[], T]) -> T | None:
        """Acts on the stream of updates. What fails there is the end of the mirror, not of the batch."""
        try:
            if self.problem is not None:
                raise self.problem
            with self.gpu.guard(), self.gpu.updating():
                return act()
        except (DeviceFull, DeviceLost) as error:
            self._give_up(error)
            return None

    def _flush(self, epoch: int, vectors: U64 | None) -> _Memory:
        """Sends what was written and killed since the last time, for this epoch."""
        memory = self._memory
        assert memory is not None, "it would have given up"
        directory, appender = memory
        for slot in self._opening:
            directory.open(slot)
        for rows, items, _ in self._written:
            optional = [spec for name, spec in self._specs.optional.items() if name in items]
            directory.add_columns(np.unique(rows // self._page_rows), [*optional, *self._vectors])
        if self._vectors_here and vectors is not None:
            directory.point_at(vectors)
        changed = directory.send(appender.staging) or bool(self._written) or bool(self._killed)
        shift = self._page_rows.bit_length() - 1
        target = Target(directory.address, directory.slots, shift, epoch)
        killed = np.concatenate(self._killed) if self._killed else _NOTHING
        for rows, items, mark in self._written:
            self.gpu.wait_for(mark)
            appender.send(target, rows, self._sources(directory, items, epoch), killed)
            killed = _NOTHING
        appender.send(target, _NOTHING, [], killed)
        if changed or self._mark is None:
            self._mark = self.gpu.mark()
        self._opening, self._written, self._killed = [], [], []
        return memory

    def _sources(self, directory: Directory, items: dict[str, Any], epoch: int) -> list[Source]:
        """What is written into the columns of a batch's rows; what a row there before may have left is filled over."""
        optional = [
            spec for name, spec in self._specs.optional.items() if name in items or directory.having(spec.column)
        ]
        specs = [*self._specs.base, *optional, *self._vectors]
        norms = items.get("norms")
        low, high = (1.0, 1.0) if norms is None else (float(norms.min()), float(norms.max()))
        self._weights = min(self._weights[0], low), max(self._weights[1], high)
        sources = [Source(spec, items.get(spec.name), spec.fill_bits) for spec in specs]
        return [*sources, Source(BORN_EPOCH, None, epoch)]

    def _pinned_vectors(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        array: NDArray[Any] | None = self._follow(
            lambda: self.gpu.pinned(shape, getattr(torch, np.dtype(dtype).name)).numpy()
        )
        return np.zeros(shape, dtype) if array is None else array

    def _give_up(self, error: NegmineError) -> None:
        """Follows no longer, and lets go of all memory: searches look at the host's rows."""
        if self.problem is None:
            if isinstance(error, DeviceFull):
                error = DeviceFull(f"{error.message}; until a restart finds room, searches run on the host alone")
            LOG.error("%s: rows are no longer followed: %s", self.gpu.label, error)
            _GIVEN_UP.labels(self.gpu.label).inc()
            self.problem = error
        self._memory = None
        self._opening, self._written, self._killed = [], [], []
