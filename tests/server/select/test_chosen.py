"""Rows of an answer that grows: nothing twice, never more than asked, picks first."""

from __future__ import annotations

import numpy as np
from negmine_server.select.chosen import Chosen
from negmine_server.select.filters import Survivors
from negmine_server.select.policy import Picks


def chosen_of(places: list[list[int]], width: int, weights: list[list[float]] | None = None) -> Chosen:
    survivors = Survivors(len(places), 5)
    survivors.ids[:] = np.arange(10, 15)
    survivors.scores[:] = np.linspace(1, 0, 5)
    survivors.versions[:] = 7
    held = None if weights is None else np.array(weights, np.float32)
    return Chosen(survivors, Picks(np.array(places), held), width)


def test_picks_come_first_then_what_is_added_once() -> None:
    chosen = chosen_of([[0, 2, -1], [-1, -1, -1]], 4)
    assert chosen.short(3).tolist() == [1, 3]
    ids = np.array([[10, 20, 20, -1, 21], [30, -1, 31, 32, 33]])
    chosen.append(
        np.arange(2), ids, np.full(ids.shape, 0.5, np.float32), np.ones(ids.shape, np.int64), np.array([1, 9])
    )
    assert chosen.ids.tolist() == [[10, 12, 20, -1], [30, 31, 32, 33]]
    assert chosen.versions.tolist() == [[7, 7, 1, 0], [1, 1, 1, 1]]
    assert np.isnan(chosen.scores[0, 3])
    assert chosen.counts.tolist() == [3, 4]


def test_some_anchors_are_added_to() -> None:
    chosen = chosen_of([[0], [1], [2]], 2, [[1], [1], [1]])
    chosen.append(
        np.array([2]), np.array([[12, 40]]), np.array([[0, 0.25]], np.float32), np.array([[0, 3]]), np.array([1])
    )
    assert chosen.ids.tolist() == [[10, -1], [11, -1], [12, 40]]
    assert chosen.weights is not None
    assert chosen.weights.tolist() == [[1, 0], [1, 0], [1, 1]]


def test_what_is_there_is_found_behind_many_that_are_not() -> None:
    chosen = chosen_of([[0]], 1)
    chosen.counts[:] = 0
    ids = np.full((1, 40), -1)
    ids[0, 33] = 20
    chosen.append(np.array([0]), ids, np.zeros((1, 40), np.float32), np.zeros((1, 40), np.int64), np.array([1]))
    assert chosen.ids.tolist() == [[20]]
