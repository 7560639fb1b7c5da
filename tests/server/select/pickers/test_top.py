"""top: the first places."""

from __future__ import annotations

from negmine_server.select.pickers.top import Top
from pools import pool_of


def test_the_hardest_are_taken() -> None:
    picks = Top().pick(pool_of([[0.9, 0.5, 0.1]] * 3, [3, 1, 0]), 2)
    assert (picks.places.tolist(), picks.weights) == ([[0, 1], [0, -1], [-1, -1]], None)
    assert Top().wanted(5) == 5
