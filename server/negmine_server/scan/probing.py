"""The plan of a probed scan: each anchor looks at the blocks of the buckets that it probes, and at the loose rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from negmine_server.domain import I32, I64, NO_NUMBER, Candidates, Metric, Query
from negmine_server.index.blocks import LOOSE
from negmine_server.index.native import as_compiled, compiled
from negmine_server.index.pages import View
from negmine_server.scan import cpu
from negmine_server.scan.plan import Plan, everything

_FIRST = 2  # the nearest buckets are looked at first, which raises the bars for all others


def searches(
    view: View, query: Query, r: int, parts: int, metric: Metric, *, rescored: bool
) -> list[Callable[[], Candidates]]:
    """`cpu.top_r` over what the query probes, as at most `parts` pieces of work of about the same size."""
    search = partial(cpu.top_r, view, query, r, view.words * 64, metric, rescored=rescored)
    if query.probes is None and parts == 1:
        return [search]
    plan = everything(view, query.rows) if query.probes is None else probed(view, query.probes, query.new_buckets)
    return [partial(search, plan=part) for part in (plan.split(parts) if parts > 1 else [plan])]


def probed(view: View, probes: I64, new_buckets: int = NO_NUMBER) -> Plan:
    """The rows of the buckets probes [B, P] (their numbers, nearest first; -1 = none).

    For all anchors: the loose rows, and buckets numbered from `new_buckets` on, which were split off since.
    """
    lists = view.allocation.lists
    late = lists.numbers[np.searchsorted(lists.numbers, new_buckets) :]
    for_all = np.broadcast_to(np.append(LOOSE, late), (probes.shape[0], 1 + late.shape[0]))
    slots = lists.find(np.concatenate([probes, for_all], axis=1))
    waves = [slots[:, :_FIRST], slots[:, _FIRST:]]
    grouped = [_grouped(as_compiled(wave), lists.offsets.shape[0] - 1) for wave in waves]
    (first, first_ends, first_queries), (rest, rest_ends, rest_queries) = grouped
    steps = np.concatenate([first, rest])
    ends = np.concatenate([first_ends, first_queries.shape[0] + rest_ends])
    return Plan(
        lists.blocks * view.block_rows,
        view.counts[lists.blocks],
        lists.offsets[steps],
        lists.offsets[steps + 1],
        np.concatenate([np.zeros(1, np.int64), ends]),
        np.concatenate([first_queries, rest_queries]),
    )


@compiled
def _grouped(slots: I32, width: int) -> tuple[I64, I64, I32]:
    """Slots [B, P] (-1 = none) by slot: which slots come up, where the anchors of each end, and the anchors."""
    counts = np.zeros(width, np.int64)
    for row in range(slots.shape[0]):
        for slot in slots[row]:
            if slot >= 0:
                counts[slot] += 1
    held = np.flatnonzero(counts)
    ends = np.cumsum(counts[held])
    at = np.zeros(width, np.int64)
    at[held] = ends - counts[held]
    anchors = np.empty(counts.sum(), np.int32)
    for row in range(slots.shape[0]):
        for slot in slots[row]:
            if slot >= 0:
                anchors[at[slot]] = row
                at[slot] += 1
    return held, ends, anchors
