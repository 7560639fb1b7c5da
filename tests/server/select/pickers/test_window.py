"""window: which ranks are taken, and that chance hangs on seed, anchor and item alone."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.errors import InvalidInput
from negmine_server.select.pickers.top import Top
from negmine_server.select.pickers.window import Window
from negmine_server.select.policy import Pool


def pool(counts: list[int], seed: int = 0, width: int = 30) -> Pool:
    rows = len(counts)
    ids = np.tile(np.arange(100, 100 + width), (rows, 1))
    scores = np.tile(np.linspace(1, 0, width, dtype=np.float32), (rows, 1))
    keys = np.arange(rows, dtype=np.uint64)
    return Pool(
        ids, scores, np.array(counts, np.int32), np.full(rows, np.nan, np.float32), keys, np.full(rows, seed, np.uint64)
    )


def test_ranks_are_taken_from_the_window() -> None:
    window = Window(5, 9)
    assert (window.wanted(3), window.wanted(10)) == (8, 9)
    assert window.pick(pool([30, 7, 2]), 3).tolist() == [[5, 6, 7], [5, 6, -1], [-1, -1, -1]]
    assert window.passed_over(pool([30, 7, 2])).tolist() == [5, 5, 2]
    assert Top().pick(pool([30, 2]), 3).tolist() == [[0, 1, 2], [0, 1, -1]]


def test_random_picks_stay_inside_and_in_rank_order() -> None:
    window = Window(5, 25, random=True)
    assert window.wanted(3) == 25
    picks = window.pick(pool([30, 8, 5, 30], seed=1), 6)
    for row, count in zip(picks, [6, 3, 0, 6], strict=True):
        there = row[row >= 0]
        assert len(set(there.tolist())) == len(there) == count
        assert (np.diff(there) > 0).all()
        assert ((there >= 5) & (there < 25)).all()
    assert picks[0].tolist() != picks[3].tolist()


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"\[7, 7\)"):
        Window(7, 7)
