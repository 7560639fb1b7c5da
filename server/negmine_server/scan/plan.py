"""What a scan looks at: steps, each some blocks of rows for some of the anchors.

An exhaustive scan is one step: every block for every anchor. A probed scan has a step a bucket, for the anchors that
probe it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from negmine_server.domain import I32, I64, U64
from negmine_server.index.layout import GROUP_ROWS
from negmine_server.index.native import Scalar, inlined
from negmine_server.index.pages import View

_TILE_BYTES = 16_384  # codes that stay in the first-level cache while the anchors pass
TILE_GROUPS_MAX = _TILE_BYTES // (8 * GROUP_ROWS)


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
    def step_rows(self) -> I64:
        """Rows [S] of each step."""
        ends = np.append(0, np.cumsum(self.counts))
        return np.asarray(ends[self.stops] - ends[self.starts])

    @property
    def rows(self) -> int:
        """Rows that the steps name, each step's once."""
        return int(self.step_rows.sum())

    @property
    def pairs(self) -> int:
        """Pairs of a row and an anchor that are scored."""
        return int((self.step_rows * np.diff(self.query_offsets)).sum())


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


class Tile(NamedTuple):
    """Working space: the groups of 64 rows that all anchors of a step pass before the next ones are loaded."""

    rows: I64  # [TILE_GROUPS_MAX] each group's first row
    valid: U64  # [TILE_GROUPS_MAX] which of its 64 rows there are


def open_tile() -> Tile:
    """A tile without content."""
    return Tile(np.empty(TILE_GROUPS_MAX, np.int64), np.empty(TILE_GROUPS_MAX, np.uint64))


@inlined
def fill(tile: Tile, plan: Plan, words: int, block: int, group: int, stop: int) -> tuple[Scalar, Scalar, Scalar]:
    """Fills a tile from a block's group on, up to block `stop`; returns its groups and the block and group to go on."""
    size = max(1, TILE_GROUPS_MAX // words)
    filled = 0
    while block < stop and filled < size:
        left = plan.counts[block] - (group << 6)
        tile.rows[filled] = plan.blocks[block] + (group << 6)
        all_rows = np.uint64(0xFFFFFFFFFFFFFFFF)
        tile.valid[filled] = all_rows if left >= GROUP_ROWS else all_rows >> np.uint64(GROUP_ROWS - left)
        filled += 1
        group += 1
        if left <= GROUP_ROWS:
            block += 1
            group = 0
    return filled, block, group
