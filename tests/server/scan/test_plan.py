"""What a plan names, and how a scan walks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.domain import Batch, Metric, Scoring
from negmine_server.index.rows import Rows
from negmine_server.scan import cpu, reference
from negmine_server.scan.plan import Plan, everything, fill, open_tile
from negmine_server.scan.warm import probe


def plan_of(counts: list[int], starts: list[int], stops: list[int], queries: list[list[int]]) -> Plan:
    """Blocks of 256 rows, as many steps as queries."""
    return Plan(
        np.arange(len(counts)) * 256,
        np.array(counts, np.int64),
        np.array(starts, np.int64),
        np.array(stops, np.int64),
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


@settings(deadline=None)
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


@settings(deadline=None)
@given(st.data())
def test_parts_cover_a_plan_and_are_balanced(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(1, 256), min_size=1, max_size=30))
    steps = data.draw(st.lists(st.tuples(st.integers(0, len(counts)), st.integers(0, 6)), max_size=8))
    stops = [min(len(counts), start + length) for start, length in steps]
    queries = [data.draw(st.lists(st.integers(0, 5), unique=True, max_size=4)) for _ in steps]
    plan = plan_of(counts, [start for start, _ in steps], stops, queries)

    def pairs(part: Plan) -> list[tuple[int, int]]:
        return [
            (int(part.blocks[block]), int(query))
            for s in range(part.starts.shape[0])
            for block in range(part.starts[s], part.stops[s])
            for query in part.queries[part.query_offsets[s] : part.query_offsets[s + 1]]
        ]

    parts = plan.split(data.draw(st.integers(1, 5)))
    assert sorted(pair for part in parts for pair in pairs(part)) == sorted(pairs(plan))
    heaviest = 256 * max((len(anchors) for anchors in queries), default=0)
    assert all(part.pairs <= plan.pairs / len(parts) + heaviest for part in parts)
    assert sum(part.pairs for part in parts) == plan.pairs


@pytest.mark.parametrize("scoring", [Scoring.SYMMETRIC, Scoring.ASYMMETRIC])
def test_a_scan_follows_its_plan(scoring: Scoring) -> None:
    rng = np.random.default_rng(12)
    codes = rng.integers(0, 2**64, (1500, 3), dtype=np.uint64)
    rows = Rows(3)
    rows.apply(Batch(ids=rng.permutation(1500), versions=np.zeros(1500, np.int64), codes=codes))
    values = rng.integers(-127, 128, (7, 192)).astype(np.int8)
    one = probe()
    query = replace(one.take(np.zeros(7, np.int64)), scoring=scoring, values=values, codes=codes[:7].copy())
    whole = reference.top_r(rows.view, query, 1500, 192, Metric.COSINE)
    places = rows.locate(whole.ids.reshape(-1)).rows.reshape(7, 1500)

    everywhere = everything(rows.view, 7)
    asked = [sorted(rng.permutation(7)[: rng.integers(0, 8)].tolist()) for _ in everywhere.blocks]
    steps = list(range(len(asked)))
    plan = plan_of(everywhere.counts.tolist(), steps, [step + 1 for step in steps], asked)
    plan = plan._replace(blocks=everywhere.blocks)
    got = cpu.top_r(rows.view, query, 50, 192, Metric.COSINE, plan=plan)
    assert got.scanned == round(plan.pairs / 7)
    for q in range(7):
        named = np.isin(
            places[q] // 256, [b // 256 for b, anchors in zip(plan.blocks, asked, strict=True) if q in anchors]
        )
        assert got.ids[q, : got.counts[q]].tolist() == whole.ids[q, named][:50].tolist()
