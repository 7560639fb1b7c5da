"""A shard's rows frozen for a snapshot: a view and the tombstones of one instant, read while the shard goes on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64
from negmine_server.index.pages import View, gather

ROWS_PER_PART = 262_144


@dataclass(frozen=True, slots=True, eq=False)
class Frozen:
    """One instant of a shard's rows; holding it keeps their pages in memory."""

    view: View
    tombstones: dict[str, I64]  # ids, versions, times_ms, each [n], oldest first

    def parts(self, rows_per_part: int = ROWS_PER_PART) -> Iterator[dict[str, NDArray[Any]]]:
        """Item-major columns of the visible rows, by names of domain.Batch, at most `rows_per_part` rows a part.

        Every part has the same columns: ids, versions, corrections, codes [n, W], and those optional ones that any row
        has (groups, tags, uncertainties, norms, vectors, scales).
        """
        view = self.view
        pending: list[I64] = []
        held = 0
        for slot in range(view.counts.shape[0]):
            rows = view.visible(slot) + slot * view.page_rows
            while held + rows.shape[0] >= rows_per_part:
                taken = rows_per_part - held
                yield gather(view, np.concatenate([*pending, rows[:taken]]))
                pending, held, rows = [], 0, rows[taken:]
            if rows.shape[0]:
                pending.append(rows)
                held += rows.shape[0]
        if held:
            yield gather(view, np.concatenate(pending))
