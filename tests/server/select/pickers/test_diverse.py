"""diverse: maximal marginal relevance against plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput
from negmine_server.select.likeness import Likeness, of_vectors
from negmine_server.select.pickers.diverse import Diverse
from negmine_server.select.policy import Pool
from pools import pool_of, random_pool


def marginal_relevance(pool: Pool, row: int, trade_off: float, k: int) -> list[int]:
    known = pool.likeness
    assert isinstance(known, Likeness)
    assert not known.coded
    vectors = known.values[known.rows[row]].astype(float)
    picked: list[int] = []
    left = list(range(pool.counts[row]))
    while left and len(picked) < k:
        gains = [
            trade_off * float(pool.scores[row, j])
            - (1 - trade_off) * max((float(vectors[j] @ vectors[i]) for i in picked), default=0)
            for j in left
        ]
        picked.append(left.pop(int(np.argmax(gains))))
    return picked + [-1] * (k - len(picked))


@pytest.mark.parametrize("trade_off", [0.0, 0.3, 0.7, 1.0])
def test_picks_are_those_of_plain_python(trade_off: float) -> None:
    pool = random_pool([20, 20, 13, 3, 0, 20, 1], 20)
    picks = Diverse(trade_off, 20).pick(pool, 6)
    want = [marginal_relevance(pool, row, trade_off, 6) for row in range(7)]
    if trade_off == 0:  # the first of equals is the nearest
        assert (picks.places[pool.counts > 0, 0] == 0).all()
    assert picks.places.tolist() == want
    assert picks.weights is None
    if trade_off == 1:
        assert want[0] == list(range(6))


def test_copies_are_taken_last() -> None:
    vectors = np.eye(3, dtype=np.float32)
    rows = np.array([[0, 0, 0, 1, 2]])
    pool = pool_of([[0.9, 0.9, 0.9, 0.5, 0.4]], likeness=of_vectors(rows, vectors))
    assert Diverse(0.5, 5).pick(pool, 5).places.tolist() == [[0, 3, 4, 1, 2]]


def test_parameters() -> None:
    assert Diverse.read(policy_pb2.Diverse(trade_off=0.5, pool=40)) == Diverse(0.5, 40)
    assert Diverse(0.5, 40).compares
    for trade_off in (-0.1, 1.1, math.nan, math.inf):
        with pytest.raises(InvalidInput, match=r"policy\.diverse\.trade_off is"):
            Diverse(trade_off, 40)
    with pytest.raises(InvalidInput, match=r"policy\.diverse\.pool is 4 and k is 5"):
        Diverse(0.5, 4).check(5, 1000)
