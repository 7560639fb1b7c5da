from __future__ import annotations

import json

import numpy as np
import pytest
from made_comparison import comparison, side
from negmine.cli.comparison import Comparison, Labels
from negmine.cli.session import plain


def test_overlap_is_by_anchor() -> None:
    made = comparison()
    assert made.shared().tolist() == [2, 0, 0]
    np.testing.assert_allclose(made.overlaps(), [2 / 3, 0, 0])
    np.testing.assert_allclose(made.jaccards(), [2 / 5, 0, np.nan])


def test_overlap_of_many_anchors_is_that_of_sets() -> None:
    random = np.random.default_rng(5)
    a, b = (np.argsort(random.random((50, 30)), axis=1)[:, :8] for _ in range(2))
    a[random.random(a.shape) < 0.2] = -1
    made = Comparison(8, (side("", a.tolist()), side("", b.tolist())), None)
    expected = [len(set(one) & set(other) - {-1}) for one, other in zip(a.tolist(), b.tolist(), strict=True)]
    assert made.shared().tolist() == expected


def test_false_negatives_are_of_those_that_are_known() -> None:
    made = comparison()
    false, known = made.labels.false(made.sides[1].ids)  # type: ignore[union-attr]
    assert false.tolist() == [[True, False, False, False], [False, True, False, False], [False] * 4]
    assert known.tolist() == [[True, True, False, True], [True, True, True, False], [False] * 4]
    np.testing.assert_allclose(made.false_by_place(made.sides[1]), [0.5, 0.5, 0, 0])
    measured = made.measured(made.sides[1])
    assert (measured["judged"], measured["false_negatives"]) == (6, 2)
    assert measured["false_negative_rate"] == pytest.approx(1 / 3)
    assert measured["anchors_with_false_negatives"] == pytest.approx(2 / 3)


def test_items_that_nobody_looked_up_are_not_judged() -> None:
    labels = Labels(np.array([1]), np.array([], np.int64), np.array([], np.int64))
    assert not labels.false(np.array([[1, -1]]))[1].any()
    labels = Labels(np.array([1]), np.array([5]), np.array([1]))
    assert labels.false(np.array([[5, 6, 4, -1]]))[1].tolist() == [[True, False, False, False]]


def test_summary_is_json() -> None:
    held = json.loads(json.dumps(plain(comparison().summary()), allow_nan=False))
    assert (held["collection"], held["anchors"], held["k"]) == ("wiki", 3, 3)
    assert held["overlap"]["mean"] == pytest.approx(2 / 9)
    assert held["overlap"]["jaccard"] == pytest.approx(0.2)
    assert held["overlap"]["anchors_with_none_shared"] == pytest.approx(2 / 3)
    a = held["a"]
    assert (a["negatives"], a["starved"], a["filled"], a["drops"]) == (5, 2, 1, {"margin": 2})
    assert a["score_mean"] == pytest.approx((0.9 * 2 + 0.8 * 2 + 0.7) / 5)
    assert (a["call_ms"], a["seconds"], a["anchors_per_s"]) == (500, 1.75, pytest.approx(3 / 1.75))


def test_nothing_returned_and_no_labels() -> None:
    empty = side("policy=top", [[-1, -1]])
    held = plain(Comparison(2, (empty, empty), None).summary())
    assert held["a"]["score_mean"] is held["a"]["false_negative_rate"] is held["overlap"]["jaccard"] is None
    assert held["overlap"]["mean"] == 0
