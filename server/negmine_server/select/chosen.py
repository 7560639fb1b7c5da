"""The answer as it grows, per anchor: the policy's picks, then random items, then what only fills its places."""

from __future__ import annotations

import numpy as np

from negmine_server.domain import F32, I32, I64, NO_ID
from negmine_server.select.filters import Survivors
from negmine_server.select.policy import Picks, taken


class Chosen:
    """Rows of B anchors with w places each, NO_ID beyond counts.

    Args:
        survivors: what the policy picked from.
        picks: its picks; a picked place comes before those that are -1.
        width: w.
    """

    def __init__(self, survivors: Survivors, picks: Picks, width: int) -> None:
        anchors, held = picks.places.shape
        self.ids: I64 = np.full((anchors, width), NO_ID, np.int64)
        self.scores: F32 = np.full((anchors, width), np.nan, np.float32)
        self.versions: I64 = np.zeros((anchors, width), np.int64)
        self.weights: F32 | None = None
        self.ids[:, :held] = taken(survivors.ids, picks.places, NO_ID)
        self.scores[:, :held] = taken(survivors.scores, picks.places, np.nan)
        self.versions[:, :held] = taken(survivors.versions, picks.places, 0)
        self.counts: I32 = (picks.places >= 0).sum(axis=1).astype(np.int32)
        if picks.weights is not None:
            self.weights = np.zeros((anchors, width), np.float32)
            self.weights[:, :held] = picks.weights

    def short(self, k: int) -> I64:
        """How many places [B] of k are free."""
        return np.maximum(k - self.counts, 0).astype(np.int64)

    def append(self, anchors: I64, ids: I64, scores: F32, versions: I64, most: I64) -> None:
        """Adds the first of ids [b, m] that are not there yet, at most `most` [b] each; NO_ID is skipped."""
        near = slice(0, int(most.max(initial=0)) + self.ids.shape[1])  # no more of them can be there already
        ids, scores, versions = ids[:, near], scores[:, near], versions[:, near]
        new = ids != NO_ID
        for place in range(self.ids.shape[1]):
            new &= ids != self.ids[anchors, place, None]
        rank = np.cumsum(new, axis=1) - 1
        rows, columns = np.nonzero(new & (rank < most[:, None]))
        owners = anchors[rows]
        at = self.counts[owners] + rank[rows, columns]
        self.ids[owners, at] = ids[rows, columns]
        self.scores[owners, at] = scores[rows, columns]
        self.versions[owners, at] = versions[rows, columns]
        self.counts += np.bincount(owners, minlength=len(self.counts)).astype(np.int32)
