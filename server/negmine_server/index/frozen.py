"""A shard's rows frozen for a snapshot: a view and the tombstones of one instant, read while the shard goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64
from negmine_server.index.pages import View, gather

ROWS_PER_PART = 262_144
_BLOCKS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """One instant of a shard's rows; holding it keeps their pages in memory."""

    view: View
    tombstones: dict[str, I64]  # ids, versions, times_ms, each [n], oldest first

    def parts(self, rows_per_part: int = ROWS_PER_PART) -> Iterator[dict[str, NDArray[Any]]]:
        """Item-major columns of the visible rows, by names of domain.Batch, at most `rows_per_part` rows a part.

        Every part has the same columns: ids, versions, corrections, codes [n, W], buckets (their numbers), and those
        optional ones that any row has (groups, tags, uncertainties, norms, vectors, scales). Rows of a bucket come
        together.
        """
        view = self.view
        blocks = view.allocation.lists.blocks
        pending = np.empty(0, np.int64)
        for first in range(0, blocks.shape[0], _BLOCKS_AT_ONCE):
            pending = np.concatenate([pending, view.visible(blocks[first : first + _BLOCKS_AT_ONCE])])
            while pending.shape[0] >= rows_per_part:
                yield self._part(pending[:rows_per_part])
                pending = pending[rows_per_part:]
        if pending.shape[0]:
            yield self._part(pending)

    def snapshot_parts(self) -> Iterator[dict[str, NDArray[Any]]]:
        """A snapshot's parts: the tombstones, then the rows."""
        yield dict(self.tombstones)
        yield from self.parts()

    def _part(self, rows: I64) -> dict[str, NDArray[Any]]:
        return gather(self.view, rows) | {"buckets": self.view.allocation.bucket_of(rows // self.view.block_rows)}


def from_snapshot(parts: Iterable[dict[str, NDArray[Any]]]) -> tuple[Iterator[dict[str, NDArray[Any]]], dict[str, I64]]:
    """The parts of rows and the tombstones of `snapshot_parts`, read back; writable, as kernels are compiled for."""
    writable = ({name: np.require(array, requirements=["C", "W"]) for name, array in part.items()} for part in parts)
    tombstones = next(writable)
    return writable, tombstones
