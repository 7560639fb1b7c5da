"""mixed: its part of the k, and what it leaves to the other policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from negmine.v1 import policy_pb2
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.select.pickers.diverse import Diverse
from negmine_server.select.pickers.mixed import Mixed
from negmine_server.select.pickers.semi_hard import SemiHard
from negmine_server.select.pickers.softmax import Softmax
from negmine_server.select.pickers.top import Top
from negmine_server.select.pickers.unremix import Unremix
from negmine_server.select.pickers.window import Window
from pools import pool_of


@pytest.mark.parametrize(("share", "k", "random"), [(0, 8, 0), (0.5, 8, 4), (0.3, 8, 2), (1, 8, 8), (0.01, 8, 0)])
def test_the_share_is_rounded(share: float, k: int, random: int) -> None:
    policy = Mixed(share, Top())
    assert policy.random_share(k) == random
    assert policy.wanted(k) == k - random
    assert policy.width(k) == k


def test_all_else_is_the_other_policys() -> None:
    positives = np.array([0.5, 0.1], np.float32)
    semi_hard = Mixed(0.25, SemiHard(0.2))
    assert semi_hard.needs_positive
    assert semi_hard.cosine_only
    for mine, other in zip(semi_hard.band(positives) or (), SemiHard(0.2).band(positives), strict=True):
        np.testing.assert_array_equal(mine, other)
    assert Mixed(0.25, Diverse(0.5, 8)).compares
    assert Mixed(0.25, Unremix(1, 1, 1, 1, 8)).reads_uncertainties
    pool = pool_of([np.linspace(1, 0, 20)] * 50)
    softmax = Mixed(0.25, Softmax(3, 20)).pick(pool, 6), Softmax(3, 20).pick(pool, 6)
    np.testing.assert_array_equal(softmax[0].places, softmax[1].places)
    np.testing.assert_array_equal(softmax[0].weights, softmax[1].weights)
    assert (Mixed(0.25, Window(5, 15)).passed_over(pool) == 5).all()
    assert Mixed(1, Top()).band(positives) is None


def test_the_other_policy_must_give_its_part() -> None:
    policy = Mixed(0.5, Diverse(0.5, 8))
    policy.check(16, 8)
    with pytest.raises(InvalidInput, match=r"policy\.diverse\.pool is 8 and k is 9"):
        policy.check(18, 100)
    with pytest.raises(TooLarge):
        policy.check(16, 7)
    Mixed(1, Diverse(0.5, 8)).check(18, 100)  # all are random


def test_parameters() -> None:
    message = policy_pb2.Mixed(random_share=0.3, hard=policy_pb2.Policy(softmax=policy_pb2.Softmax(beta=2)))
    assert Mixed.read(message) == Mixed(0.3, Softmax(2))
    assert Mixed.read(policy_pb2.Mixed(random_share=0.3)) == Mixed(0.3, Top())
    for share in (-0.1, 1.1, math.nan, math.inf):
        with pytest.raises(InvalidInput, match=r"policy\.mixed\.random_share is"):
            Mixed(share, Top())
    with pytest.raises(InvalidInput, match=r"policy\.mixed\.hard is mixed"):
        Mixed.read(policy_pb2.Mixed(hard=policy_pb2.Policy(mixed=message)))
    with pytest.raises(InvalidInput, match=r"policy\.mixed\.hard is unremix with its whole pool"):
        Mixed(0.3, Unremix(1, 1, 1, 1, 8, weights_only=True))
    with pytest.raises(InvalidInput, match=r"with its whole pool"):
        Mixed(1, Unremix(1, 1, 1, 1, 0, weights_only=True))
