"""Curves of recall by rank, and the effort that is looked up on them."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.calibrate import MEMORY, NOT_FOUND, Calibration, Curve, Effort, Mode
from negmine_server.domain import Scoring

MODE = Mode(Scoring.SYMMETRIC, rescored=False, limited=False)
RESCORED = Mode(Scoring.ASYMMETRIC, rescored=True, limited=False)


def test_recall_is_the_share_of_ranks_below() -> None:
    curve = Curve()
    for _ in range(400):
        curve.observe(np.array([0, 0, 1, 3, 7, 7, 7, NOT_FOUND]))
    for n, share in ((0, 0.0), (1, 2 / 8), (2, 3 / 8), (4, 4 / 8), (8, 7 / 8), (1000, 7 / 8)):
        assert curve.recall(n, 8) == pytest.approx(share)


def test_the_smallest_effort_reaches_the_target_and_no_more() -> None:
    curve = Curve()
    random = np.random.default_rng(0)
    for _ in range(1000):
        curve.observe(random.geometric(0.1, 64) - 1)
    for target in (0.5, 0.8, 0.95, 0.99):
        n = curve.smallest(target, 64)
        assert n is not None
        true = 1 - 0.9**n
        assert target <= true <= target + 0.03


def test_few_measured_queries_ask_for_more() -> None:
    few, many = Curve(), Curve()
    random = np.random.default_rng(1)
    for number in range(800):
        ranks = random.geometric(0.05, 64) - 1
        many.observe(ranks)
        if number < 8:
            few.observe(ranks)
    assert few.smallest(0.9, 64) > many.smallest(0.9, 64)


def test_what_was_never_found_cannot_be_promised() -> None:
    curve = Curve()
    for _ in range(100):
        curve.observe(np.array([0, 1, NOT_FOUND, NOT_FOUND]))
    assert curve.smallest(0.6, 4) is None
    assert Curve().smallest(0.5, 4) is None
    assert Curve().recall(1, 4) is None


def test_answers_of_several_sizes_have_curves_of_their_own() -> None:
    curve = Curve()
    for _ in range(500):
        curve.observe(np.arange(300) // 10)
    assert curve.smallest(0.95, 16) == 2
    assert curve.smallest(0.95, 64) == 7
    assert curve.smallest(0.95, 200) > 20
    assert curve.smallest(0.95, 5000) == curve.smallest(0.95, 1000), "the largest that is known stands for larger ones"


def test_old_queries_fade() -> None:
    curve = Curve()
    for _ in range(int(MEMORY)):
        curve.observe(np.full(16, 50))
    assert curve.smallest(0.95, 16) == 51
    for _ in range(int(6 * MEMORY)):
        curve.observe(np.zeros(16, np.int64))
    assert curve.smallest(0.95, 16) == 1


def test_a_rescored_answer_gets_probes_and_a_pool() -> None:
    calibration = Calibration()
    assert calibration.effort(RESCORED, 0.95, 8, 128) == Effort(None, None)
    for _ in range(500):
        calibration.observe(RESCORED, np.arange(8), np.arange(8) * 10, np.ones(8, np.bool_))
    effort = calibration.effort(RESCORED, 0.9, 8, 128)
    assert effort.probes == 8
    assert effort.pool == 71
    assert calibration.measured == 1.0


def test_a_mode_that_was_not_measured_borrows_the_most_similar() -> None:
    calibration = Calibration()
    for _ in range(500):
        calibration.observe(MODE, np.zeros(16, np.int64), None, None)
    assert calibration.measured is None
    assert calibration.effort(Mode(Scoring.ASYMMETRIC, rescored=False, limited=True), 0.95, 16, 16).probes == 1
    assert calibration.effort(RESCORED, 0.95, 16, 256) == Effort(1, None), "its pool is the usual one"


def test_measured_recall_is_that_of_the_last_queries() -> None:
    calibration = Calibration()
    for found in (1, 0, 1, 0):
        calibration.observe(MODE, np.zeros(4, np.int64), None, np.full(4, found, np.bool_))
    assert calibration.measured == 0.5
