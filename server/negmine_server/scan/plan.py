"""What a scan looks at: steps, each some blocks of rows for some of the anchors.

An exhaustive scan is one step: every block for every anchor. A probed scan has a step a bucket, for the anchors that
probe it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from negmine_server.domain import I32, I64
from negmine_server.index.pages import View


class Plan(NamedTuple):
    """Step s offers the rows of blocks [starts[s], stops[s]) to anchors queries[query_offsets[s]:query_offsets[s + 1]].

    No row comes to an anchor twice.
    """

    blocks: I64  # [m] number of each block's first row, a multiple of 64; its rows lie behind one another in one page
    counts: I64  # [m] rows in it, >= 1
    starts: I64  # [S]
    stops: I64  # [S]
    query_offsets: I64  # [S + 1]
    queries: I32

    @property
    def rows(self) -> int:
        """Rows that the steps name, each step's once."""
        return int(sum(self.counts[a:b].sum() for a, b in zip(self.starts, self.stops, strict=True)))


def everything(view: View, anchors: int) -> Plan:
    """All rows for all anchors."""
    held = np.flatnonzero(view.counts)
    return Plan(
        held * view.block_rows,
        view.counts[held],
        np.zeros(1, np.int64),
        np.full(1, held.shape[0], np.int64),
        np.array([0, anchors]),
        np.arange(anchors, dtype=np.int32),
    )
