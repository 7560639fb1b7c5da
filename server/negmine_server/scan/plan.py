"""What a scan looks at: steps, each some blocks of rows for some of the anchors.

An exhaustive scan is one step: every block for every anchor. A probed scan has a step a bucket, for the anchors that
probe it.
"""

from __future__ import annotations

from itertools import pairwise
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

    def split(self, parts: int) -> list[Plan]:
        """At most `parts` plans that cover this one between them, with about as many pairs each.

        Cuts lie between blocks, so a step may go on in the next plan. Plans that would be empty are left out.
        """
        lengths = self.stops - self.starts
        steps = np.repeat(np.arange(lengths.shape[0]), lengths)
        blocks = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + self.starts[steps]
        done = np.cumsum(self.counts[blocks] * np.diff(self.query_offsets)[steps])
        if not done.size:
            return [self]
        cuts = np.searchsorted(done, done[-1] * np.arange(1, parts) / parts)
        edges = np.unique([0, *cuts, blocks.shape[0]])
        return [self._cut(steps[a:b], blocks[a:b]) for a, b in pairwise(edges.tolist())]

    def _cut(self, steps: I64, blocks: I64) -> Plan:
        """Some blocks that lie behind one another, each with its step."""
        held, firsts = np.unique(steps, return_index=True)
        lasts = np.append(firsts[1:], steps.shape[0]) - 1
        offsets, queries = self.query_offsets, self.queries
        chosen = queries[offsets[held[0]] : offsets[held[-1] + 1]]
        if held[-1] - held[0] + 1 > held.shape[0]:  # a step without blocks lies between
            chosen = np.concatenate([queries[offsets[step] : offsets[step + 1]] for step in held])
        sizes = np.diff(offsets)[held]
        return Plan(self.blocks, self.counts, blocks[firsts], blocks[lasts] + 1, np.append(0, np.cumsum(sizes)), chosen)


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
