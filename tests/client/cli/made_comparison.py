"""Two sides of a comparison by hand: three anchors, k = 3."""

from __future__ import annotations

import numpy as np
from negmine.cli.comparison import Comparison, Labels, Side

A = [[1, 2, 3], [4, 5, -1], [-1, -1, -1]]
B = [[3, 2, 9, 8], [6, 7, 8, -1], [-1, -1, -1, -1]]


def side(asked: str, ids: list[list[int]], exact: bool = True) -> Side:
    """One side with scores that fall by 0.1 from 0.9."""
    held = np.array(ids)
    scores = np.where(held >= 0, 0.9 - 0.1 * np.arange(held.shape[1]), np.nan).astype(np.float32)
    starved = int(((held >= 0).sum(axis=1) < 3).sum())
    return Side(asked, "wiki", held, scores, starved, 1, exact, {"margin": 2}, (0.5, 0.25, 1.0))


def comparison(labels: bool = True) -> Comparison:
    """Anchors of the groups 0, 1 and none; the items 1 to 9 have their id's remainder by 3, but 9, which has none."""
    groups = np.array([1, 2, 0, 1, 2, 0, 1, 2, -1])
    known = Labels(np.array([0, 1, -1]), np.arange(1, 10), groups) if labels else None
    return Comparison(3, (side("policy=top", A), side("policy=window range_min=1", B)), known)
