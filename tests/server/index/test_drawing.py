"""Random draws: the lowest keys under a seed, whatever the layout; every item as likely as any other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine_server.domain import Batch
from negmine_server.hashing import mix
from negmine_server.index.drawing import draw
from negmine_server.index.rows import Rows


def rows_of(ids: np.ndarray, dead: np.ndarray) -> Rows:
    """Rows with some ids, after others died or were overwritten."""
    rows = Rows(1)
    for step, some in enumerate((dead, ids, ids[::3])):
        codes = np.full((len(some), 1), step, np.uint64)
        rows.apply(Batch(ids=some, versions=np.full(len(some), step, np.int64), codes=codes))
    rows.apply(Batch(ids=dead, versions=np.full(len(dead), 9, np.int64)))
    return rows


def keys(ids: np.ndarray, seed: int) -> np.ndarray:
    return mix(mix(np.array([seed], np.uint64)) ^ ids.astype(np.uint64))


@given(
    ids=st.lists(st.integers(0, 2**62), min_size=0, max_size=200, unique=True),
    seed=st.integers(0, 2**64 - 1),
    n=st.integers(1, 64),
)
def test_draws_go_through_all_items_in_the_order_of_their_keys(ids: list[int], seed: int, n: int) -> None:
    every = np.array(ids, np.int64)
    dead = np.array([item for item in range(50) if item not in set(ids)], np.int64)
    view = rows_of(every, dead).view
    drawn: list[int] = []
    low = 0
    while True:
        some, found = draw(view, seed, low, n)
        assert some.size <= n
        np.testing.assert_array_equal(found, keys(some, seed))
        drawn += some.tolist()
        if some.size < n:
            break
        low = int(found[-1]) + 1
    assert drawn == every[np.argsort(keys(every, seed))].tolist()


@pytest.mark.parametrize("low", [0, 2**63])
def test_many_rows(low: int) -> None:
    ids = np.arange(100_000)
    view = rows_of(ids, np.arange(200_000, 200_010)).view
    wanted = np.sort(keys(ids, 5))
    _, found = draw(view, 5, low, 512)
    np.testing.assert_array_equal(found, wanted[wanted >= np.uint64(low)][:512])


def test_items_are_drawn_evenly() -> None:
    ids = np.arange(40)
    view = rows_of(ids, ids[:0]).view
    counts = np.zeros(40)
    for seed in range(4000):
        counts[draw(view, seed, 0, 10)[0]] += 1
    assert np.abs(counts / 4000 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 4000)
