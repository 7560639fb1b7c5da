"""A small explanation, as the server would give it, and its report."""

from __future__ import annotations

import negmine
import numpy as np
from negmine import Outcome, Verdict
from negmine.cli.anchor_sample import Anchor
from negmine.cli.explained import Report, cards
from negmine.cli.sidecar import Shown

PROTECTION = negmine.Protection(percent_of_positive=0.9, min_score=0.1)
_IDS = [[7, 1, 2, 3, 4, 5, 6, 8], [9, -1, -1, -1, -1, -1, -1, -1]]
_SCORES = [[1.0, 0.9, 0.8, 0.75, 0.7, 0.6, 0.5, 0.05], [0.4, *[np.nan] * 7]]
_VERDICTS = [
    [
        Verdict.OWN_ID,
        Verdict.MARGIN,
        Verdict.POSITIVE,
        Verdict.GROUP,
        Verdict.PICKED,
        Verdict.TAGS,
        Verdict.NOT_PICKED,
        Verdict.MIN_SCORE,
    ],
    [Verdict.AGE, *[Verdict.NONE] * 7],
]


def explanation() -> negmine.Explanation:
    """Two anchors: one has an item picked among the nearest and one beyond that only fills; the other is starved."""
    negatives = negmine.Negatives(
        ids=np.array([[4, 40], [-1, -1]]),
        scores=np.array([[0.7, 0.02], [np.nan, np.nan]], np.float32),
        counts=np.array([2, 0], np.int32),
        outcomes=(Outcome.FULL, Outcome.EXHAUSTED),
        exact_scores=True,
        drops={"margin": 30, "positive": 1, "window": 0},
        missing_positives=(),
        timings_ms={},
        watermark=negmine.Watermark("i", 1, (1,)),
        newest=negmine.Version(0, 5),
        rows_scanned=9,
        collection="wiki",
        positive_scores=np.array([0.8, np.nan], np.float32),
        fills=np.array([1, 0], np.int32),
    )
    return negmine.Explanation(
        negatives,
        ids=np.array(_IDS),
        scores=np.array(_SCORES, np.float32),
        verdicts=np.array(_VERDICTS, np.int32),
        groups=np.array([[3, 4, 4, 3, -1, 4, 4, 4], [1, *[-1] * 7]]),
    )


def report(texts: dict[int, str] | None = None, image: str | None = None) -> Report:
    """The report of it, with these texts."""
    made = explanation()
    anchors = [Anchor(7, np.zeros(2), [2], 3), Anchor(70, np.zeros(2), [], -1)]
    shown = {id_: Shown(text, image) for id_, text in (texts or {}).items()}
    held = cards(anchors, made, PROTECTION, negmine.Top())
    return Report("wiki", {"policy": "top"}, 2, held, made.negatives.drops, shown, shown)
