"""Selection against sorting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.scan.topr import nth_smallest, select_best, sort_best

ORDERS = {
    "random": np.random.default_rng(0).permutation,
    "ascending": np.arange,
    "descending": lambda n: np.arange(n)[::-1],
    "equal": np.zeros,
    "few": lambda n: np.random.default_rng(n).integers(0, 3, n),
    "organ_pipe": lambda n: np.minimum(np.arange(n), np.arange(n)[::-1]),
}


@pytest.mark.parametrize("kind", list(ORDERS))
@pytest.mark.parametrize("n", [1, 2, 3, 17, 1000, 20_000])
def test_nth_smallest_of_any_order(kind: str, n: int) -> None:
    for dtype in (np.float32, np.int64):
        keys = ORDERS[kind](n).astype(dtype)
        expected = np.sort(keys)
        for k in {0, n // 3, n // 2, n - 1}:
            assert nth_smallest(keys.copy(), n, k) == expected[k]


@settings(deadline=None)  # the first one compiles
@given(st.lists(st.integers(-3, 3), min_size=2, max_size=200), st.data())
def test_the_best_are_kept_with_their_ids_and_rows(values: list[int], data: st.DataObject) -> None:
    n = len(values)
    r = data.draw(st.integers(1, n - 1))
    scores = np.array(values, np.float32)
    ids = np.array(data.draw(st.permutations(range(n))), np.int64)
    rows = (ids * 7).astype(np.int32)
    best = np.lexsort((ids, -scores))
    expected_scores, expected_ids = scores[best], ids[best]

    bar = select_best(
        scores, ids, rows, n, r, np.empty(n + 1, np.float32), np.empty(n + 1, np.int64), np.empty(256, np.int64)
    )
    assert bar == (expected_scores[r - 1], expected_ids[r - 1])
    orders = np.empty((2, n), np.int64)
    order = orders[sort_best(scores, ids, r, orders, np.empty(256, np.int64)), :r]
    assert scores[order].tolist() == expected_scores[:r].tolist()
    assert ids[order].tolist() == expected_ids[:r].tolist()
    assert rows[order].tolist() == (expected_ids[:r] * 7).tolist()


@pytest.mark.parametrize("kind", list(ORDERS))
def test_sorting_many(kind: str) -> None:
    n = 20_000
    scores = ORDERS[kind](n).astype(np.float32)
    ids = np.random.default_rng(1).permutation(n).astype(np.int64)
    best = np.lexsort((ids, -scores))
    expected = ids[best].tolist()
    orders = np.empty((2, n), np.int64)
    side = sort_best(scores, ids, n, orders, np.empty(256, np.int64))
    assert ids[orders[side]].tolist() == expected


def test_scores_of_any_sign_and_size() -> None:
    rng = np.random.default_rng(2)
    special = np.array([0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 3e38, -3e38], np.float32)
    scores = np.concatenate([special, rng.standard_normal(92).astype(np.float32), special])
    n = scores.shape[0]
    ids = rng.permutation(n).astype(np.int64) << 40
    best = np.lexsort((ids, -scores))
    orders, bins = np.empty((2, n), np.int64), np.empty(256, np.int64)
    side = sort_best(scores, ids, n, orders, bins)
    assert orders[side].tolist() == best.tolist()
    for r in range(1, n):
        kept = scores.copy()
        bar = select_best(
            kept, ids.copy(), ids.astype(np.int32), n, r, np.empty(n + 1, np.float32), np.empty(n + 1, np.int64), bins
        )
        assert bar == (scores[best[r - 1]], ids[best[r - 1]])
