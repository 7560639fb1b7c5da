"""What a plan names, and how a scan walks it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from negmine_server.domain import Batch
from negmine_server.index.rows import Rows
from negmine_server.scan.plan import Plan, everything, fill, open_tile


def plan_of(counts: list[int], starts: list[int], stops: list[int], queries: list[list[int]]) -> Plan:
    """Blocks of 256 rows, as many steps as queries."""
    return Plan(
        np.arange(len(counts)) * 256,
        np.array(counts, np.int64),
        np.array(starts),
        np.array(stops),
        np.append(0, np.cumsum([len(anchors) for anchors in queries])),
        np.array([anchor for anchors in queries for anchor in anchors], np.int32),
    )


def test_rows_and_pairs_of_a_plan() -> None:
    plan = plan_of([256, 10, 3, 256], [0, 3, 1], [2, 4, 1], [[0, 2], [1], [0, 1, 2]])
    assert plan.step_rows.tolist() == [266, 256, 0]
    assert plan.rows == 522
    assert plan.pairs == 2 * 266 + 256


def test_everything_names_each_row_once() -> None:
    rows = Rows(1)
    assert everything(rows.view, 3).rows == 0
    rows.apply(Batch(ids=np.arange(700), versions=np.zeros(700, np.int64), codes=np.zeros((700, 1), np.uint64)))
    plan = everything(rows.view, 3)
    assert plan.rows == 700
    assert plan.pairs == 2100


@given(st.lists(st.integers(1, 256), max_size=40), st.integers(1, 64))
def test_tiles_hold_every_row_once_and_in_order(counts: list[int], words: int) -> None:
    plan = plan_of(counts, [0], [len(counts)], [[0]])
    expected = [256 * block + row for block, count in enumerate(counts) for row in range(count)]
    tile, found, block, group = open_tile(), [], 0, 0
    while block < len(counts):
        groups, block, group = fill(tile, plan, words, block, group, len(counts))
        assert 0 < groups <= max(1, 32 // words)
        for k in range(groups):
            assert tile.rows[k] % 64 == 0
            found += [int(tile.rows[k]) + row for row in range(64) if int(tile.valid[k]) >> row & 1]
    assert found == expected
