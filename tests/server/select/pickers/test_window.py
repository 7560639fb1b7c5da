"""window: which ranks are taken, and that chance hangs on seed, anchor and item alone."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.select.pickers.window import Window
from negmine_server.select.policy import Pool
from pools import pool_of


def pool(counts: list[int], seed: int = 0, width: int = 30) -> Pool:
    rows = len(counts)
    scores = np.tile(np.linspace(1, 0, width), (rows, 1))
    ids = np.tile(np.arange(100, 100 + width), (rows, 1))
    return pool_of(scores, counts, ids=ids, seeds=np.full(rows, seed, np.uint64))


def test_ranks_are_taken_from_the_window() -> None:
    window = Window(5, 9)
    assert (window.wanted(3), window.wanted(10)) == (8, 9)
    assert window.pick(pool([30, 7, 2]), 3).places.tolist() == [[5, 6, 7], [5, 6, -1], [-1, -1, -1]]
    assert window.passed_over(pool([30, 7, 2])).tolist() == [5, 5, 2]


def test_random_picks_stay_inside_and_in_rank_order() -> None:
    window = Window(5, 25, random=True)
    assert window.wanted(3) == 25
    places = window.pick(pool([30, 8, 5, 30], seed=1), 6).places
    for row, count in zip(places, [6, 3, 0, 6], strict=True):
        there = row[row >= 0]
        assert len(set(there.tolist())) == len(there) == count
        assert (np.diff(there) > 0).all()
        assert ((there >= 5) & (there < 25)).all()
    assert places[0].tolist() != places[3].tolist()


def test_windows_that_cannot_give_k_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\[7, 7\)"):
        Window(7, 7)
    with pytest.raises(InvalidInput, match=r"k is 3 and policy\.window holds 2 ranks"):
        Window(5, 7).check(3, 100)
    with pytest.raises(TooLarge, match=r"policy\.window\.range_max is 101"):
        Window(5, 101).check(3, 100)
