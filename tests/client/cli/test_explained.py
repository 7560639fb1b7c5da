from __future__ import annotations

import json
import math

import negmine
import pytest
from made_report import report
from negmine import Verdict
from negmine.cli.explained import NAMES, band
from negmine.cli.session import plain


def test_every_verdict_has_a_name() -> None:
    assert set(NAMES) == set(Verdict) - {Verdict.NONE}


def test_candidates_are_the_nearest_and_what_was_returned_beyond() -> None:
    first, second = report().cards
    assert [(held.rank, held.id, held.verdict_name) for held in first.candidates] == [
        (1, 7, "own id"),
        (2, 1, "margin"),
        (3, 2, "positive"),
        (4, 3, "same group"),
        (5, 4, "picked"),
        (6, 5, "tags"),
        (7, 6, "not picked"),
        (8, 8, "min score"),
        (None, 40, "filled"),
    ]
    assert first.candidates[4].why == "negative 1"
    assert first.candidates[-1].why == "negative 2, which only fills the anchor's places; farther than those looked at"
    assert [held.verdict_name for held in second.candidates] == ["too old"]
    assert (second.positive_score, second.ceiling, second.floor) == (None, None, 0.1)
    assert dict(first.marks()) == pytest.approx({"positive": 0.8, "ceiling": 0.72, "floor": 0.1})


def test_counts_and_json() -> None:
    made = report({7: "an anchor", 4: "a negative"})
    counts = made.counts()
    assert counts["picked"] == counts["filled"] == 1
    assert list(counts)[:2] == ["picked", "filled"]
    assert made.starved() == 1
    held = json.loads(json.dumps(plain(made.as_json()), allow_nan=False))
    assert held["verdicts"] == counts
    assert held["anchors"][0]["text"] == "an anchor"
    picked = held["anchors"][0]["candidates"][4]
    assert (picked["id"], picked["verdict"], picked["text"], picked["group"]) == (4, "picked", "a negative", -1)


@pytest.mark.parametrize(
    ("protection", "positive", "expected"),
    [
        (None, 0.5, (None, None)),
        (negmine.Protection(max_score=0.9, min_score=0.2), None, (0.2, 0.9)),
        (negmine.Protection(absolute_margin=0.1, max_score=0.9), 0.5, (None, 0.4)),
        (negmine.Protection(relative_margin=0.1), -0.5, (None, -0.55)),
        (negmine.Protection(percent_of_positive=0.9), -0.5, (None, -0.55)),
        (negmine.Protection(percent_of_positive=0.9, absolute_margin=0.2), 0.5, (None, 0.3)),
        (negmine.Protection(percent_of_positive=0.9), None, (None, None)),
    ],
)
def test_band(
    protection: negmine.Protection | None, positive: float | None, expected: tuple[float | None, float | None]
) -> None:
    assert band(positive, protection, negmine.Top()) == pytest.approx(expected)


def test_semi_hard_has_a_band_of_its_own() -> None:
    floor, ceiling = band(0.5, None, negmine.Mixed(0.5, negmine.SemiHard(0.2)))
    assert ceiling == 0.5
    assert floor is not None
    assert math.sqrt(2 - 2 * floor) == pytest.approx(math.sqrt(2 - 2 * 0.5) + 0.2)
