"""The false-negative filters after the scan, in one documented order, and the survivors they fill.

Order per candidate (sentence-transformers'): own id, positive ids, margins against the positive, max_score, min_score.
Each candidate that is dropped counts for the first reason that holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negmine_server.domain import F32, I32, I64, NO_ID, Candidates, DropReason
from negmine_server.index.native import Scalar, inlined, kernel


@dataclass(frozen=True, slots=True, eq=False)
class Exclusions:
    """What each of B anchors must not get."""

    own_ids: I64  # [B], NO_ID = none
    positive_offsets: I64  # [B + 1]
    positive_ids: I64  # sorted within each anchor
    margin_ceilings: F32  # [B], highest score that the margins admit
    max_ceiling: np.float32
    floors: F32  # [B], lowest score admitted


class Survivors:
    """The best `wanted` candidates per anchor that passed the filters, over any number of scan rounds."""

    def __init__(self, anchors: int, wanted: int) -> None:
        self.ids: I64 = np.full((anchors, wanted), NO_ID, np.int64)
        self.scores: F32 = np.full((anchors, wanted), -np.inf, np.float32)
        self.versions: I64 = np.zeros((anchors, wanted), np.int64)
        self.counts: I32 = np.zeros(anchors, np.int32)
        self.drops: I64 = np.zeros((anchors, len(DropReason)), np.int64)

    def take(self, anchors: I64) -> Survivors:
        """Those of some anchors [b]."""
        some = Survivors(0, 0)
        for name in ("ids", "scores", "versions", "counts", "drops"):
            setattr(some, name, getattr(self, name)[anchors])
        return some

    def forget(self, anchors: I64) -> None:
        """Starts afresh for some anchors."""
        self.counts[anchors] = 0
        self.drops[anchors] = 0
        self.ids[anchors], self.scores[anchors], self.versions[anchors] = NO_ID, -np.inf, 0

    def absorb(self, found: Candidates, scores: F32, anchors: I64, exclusions: Exclusions) -> None:
        """Filters one round: candidates [b, R] with their final scores [b, R], of the anchors [b]."""
        _absorb(
            found.ids, scores, found.versions, found.counts, anchors,
            exclusions.own_ids, exclusions.positive_offsets, exclusions.positive_ids,
            exclusions.margin_ceilings, exclusions.max_ceiling, exclusions.floors,
            self.ids, self.scores, self.versions, self.counts, self.drops,
        )  # fmt: skip


@kernel
def _absorb(
    ids: I64, scores: F32, versions: I64, counts: I32, anchors: I64,
    own_ids: I64, positive_offsets: I64, positive_ids: I64, margin_ceilings: F32, max_ceiling: Scalar, floors: F32,
    out_ids: I64, out_scores: F32, out_versions: I64, out_counts: I32, drops: I64,
) -> None:  # fmt: skip
    """The columns of `drops` are the first of DropReason."""
    for row in range(anchors.shape[0]):
        anchor = anchors[row]
        first, last = positive_offsets[anchor], positive_offsets[anchor + 1]
        for place in range(counts[row]):
            item, score = ids[row, place], scores[row, place]
            if item == own_ids[anchor]:
                drops[anchor, 0] += 1
            elif _among(positive_ids, first, last, item):
                drops[anchor, 1] += 1
            elif score > margin_ceilings[anchor]:
                drops[anchor, 2] += 1
            elif score > max_ceiling:
                drops[anchor, 3] += 1
            elif score < floors[anchor]:
                drops[anchor, 4] += 1
            else:
                version = versions[row, place]
                _insert(item, score, version, out_ids, out_scores, out_versions, out_counts, anchor)


@inlined
def _among(values: I64, first: int, last: int, wanted: int) -> bool:
    """Whether values[first:last], sorted, hold `wanted`."""
    end = last
    while first < last:
        middle = (first + last) // 2
        if values[middle] < wanted:
            first = middle + 1
        else:
            last = middle
    return first < end and values[first] == wanted


@inlined
def _insert(
    item: int, score: Scalar, version: int, ids: I64, scores: F32, versions: I64, counts: I32, anchor: int
) -> None:
    """Puts one survivor into its anchor's sorted list, which keeps the best."""
    place = counts[anchor]
    if place == ids.shape[1]:
        place -= 1
        if score < scores[anchor, place] or (score == scores[anchor, place] and item > ids[anchor, place]):
            return
    else:
        counts[anchor] += 1
    while place > 0:
        above = scores[anchor, place - 1]
        if score < above or (score == above and item > ids[anchor, place - 1]):
            break
        scores[anchor, place], ids[anchor, place] = above, ids[anchor, place - 1]
        versions[anchor, place] = versions[anchor, place - 1]
        place -= 1
    ids[anchor, place], scores[anchor, place], versions[anchor, place] = item, score, version
