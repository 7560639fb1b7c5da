"""The answer as it grows, per anchor: the policy's picks, then random items, then what only fills its places."""

from __future__ import annotations

import numpy as np

from negmine_server.domain import F32, I32, I64, NO_ID
from negmine_server.index.native import as_compiled, kernel
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
        """Adds the first of ids [b, m] that are not there yet, at most `most` [b] each; NO_ID is skipped.

        Anchors are distinct. What is added weighs 1, the mean of the picks.
        """
        before = self.counts.copy()
        _append(
            as_compiled(ids), as_compiled(scores), as_compiled(versions), as_compiled(anchors), as_compiled(most),
            self.ids, self.scores, self.versions, self.counts,
        )  # fmt: skip
        if self.weights is not None:
            place = np.arange(self.ids.shape[1])
            self.weights[(place >= before[:, None]) & (place < self.counts[:, None])] = 1


@kernel
def _append(
    ids: I64, scores: F32, versions: I64, anchors: I64, most: I64,
    out_ids: I64, out_scores: F32, out_versions: I64, out_counts: I32,
) -> None:  # fmt: skip
    for row in range(anchors.shape[0]):
        anchor = anchors[row]
        end = min(out_counts[anchor] + most[row], out_ids.shape[1])
        for place in range(ids.shape[1]):
            count = out_counts[anchor]
            if count >= end:
                break
            item = ids[row, place]
            new = item != NO_ID
            for held in range(count):
                new &= out_ids[anchor, held] != item
            if new:
                out_ids[anchor, count] = item
                out_scores[anchor, count] = scores[row, place]
                out_versions[anchor, count] = versions[row, place]
                out_counts[anchor] = count + 1
