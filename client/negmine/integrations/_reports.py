"""What was mined, in a few lines of the log."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from negmine.integrations._rules import Mined

logger = logging.getLogger("negmine")


def report(mined: Mined) -> None:
    """Logs how many pairs, negatives, dropped candidates and pairs without enough, and how the scores are spread."""
    negatives = mined.scores[mined.pairs.query_rows]
    found = mined.found[mined.pairs.query_rows]
    positives = np.broadcast_to(mined.positive_scores[:, None], negatives.shape)[found]
    short = int((~found.all(axis=1)).sum())
    logger.info(
        "%d pairs, %d negatives; %d pairs have fewer than %d", len(found), found.sum(), short, mined.scores.shape[1]
    )
    for name, values in (
        ("positives", mined.positive_scores),
        ("negatives", negatives[found]),
        ("difference", positives - negatives[found]),
    ):
        if len(values):
            logger.info("score of %s: %s", name, _spread(values))
    for rule, count in mined.skipped.items():
        logger.info("%s dropped %d candidates", rule, count)


def _spread(values: NDArray[np.float32]) -> str:
    quartiles = np.percentile(values, [0, 25, 50, 75, 100])
    named = zip(("min", "25%", "median", "75%", "max"), quartiles, strict=True)
    return ", ".join([f"mean {values.mean():.4f}", *(f"{name} {value:.4f}" for name, value in named)])
