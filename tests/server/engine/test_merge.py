"""Merging shards' candidates is sorting them together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from negmine_server.domain import Candidates
from negmine_server.engine.merge import merge

ROWS = st.lists(
    st.lists(
        st.tuples(st.integers(0, 60), st.sampled_from([0.0, 0.25, 0.5, 1.0])), max_size=12, unique_by=lambda r: r[0]
    ),
    min_size=1,
    max_size=4,
)


def part_of(rows: list[tuple[int, float]], r: int, rescored: bool) -> Candidates:
    best = sorted(rows, key=lambda row: (-row[1], row[0]))[:r]
    ids, scores = np.full((1, r), -1, np.int64), np.full((1, r), -np.inf, np.float32)
    for place, (item, score) in enumerate(best):
        ids[0, place], scores[0, place] = item, score
    exact = np.where(ids >= 0, ids / 100, -np.inf).astype(np.float32) if rescored else None
    versions = np.where(ids >= 0, ids * 7, 0)
    counts, above = np.int32([len(best)]), np.int64([2])
    return Candidates(ids, scores, exact, versions, counts, above, scanned=10)


@given(shards=ROWS, r=st.integers(1, 15), rescored=st.booleans())
def test_merging_is_sorting_together(shards: list[list[tuple[int, float]]], r: int, rescored: bool) -> None:
    shards = [[(item * len(shards) + shard, score) for item, score in rows] for shard, rows in enumerate(shards)]
    got = merge([part_of(rows, r, rescored) for rows in shards], r)
    want = sorted((row for rows in shards for row in rows), key=lambda row: (-row[1], row[0]))[:r]
    n = len(want)
    assert got.counts.tolist() == [n]
    assert got.ids[0].tolist() == [item for item, _ in want] + [-1] * (r - n)
    assert got.scores[0, :n].tolist() == [score for _, score in want]
    assert got.versions[0, :n].tolist() == [7 * item for item, _ in want]
    assert (got.rescored is not None) == rescored
    if got.rescored is not None:
        np.testing.assert_array_equal(got.rescored[0, :n], np.float32([item / 100 for item, _ in want]))
    assert (got.above.tolist(), got.scanned) == ([2 * len(shards)], 10 * len(shards))
