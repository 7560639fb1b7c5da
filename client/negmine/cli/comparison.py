"""Two ways to mine, measured on the same anchors: how hard the negatives are, how many are shared or false."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import negmine
from negmine.cli.rows import I64

F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What one way to mine returned for B anchors, w at most each.

    Attributes:
        asked: its options, as they were written.
        collection: the concrete one.
        ids: int64 [B, w], -1 where there is none.
        scores: float32 [B, w], NaN where there is none.
        starved: anchors with fewer than k.
        filled: negatives that only fill places.
        exact_scores: whether scores are exact, or estimated from codes.
        drops: dropped candidates by reason.
        seconds: of each call.
    """

    asked: str
    collection: str
    ids: I64
    scores: NDArray[np.float32]
    starved: int
    filled: int
    exact_scores: bool
    drops: dict[str, int]
    seconds: tuple[float, ...]

    @classmethod
    def of(cls, asked: str, calls: Sequence[tuple[negmine.Negatives, float]]) -> Side:
        """The answers to all batches, with the seconds they took, joined."""
        drops: Counter[str] = Counter()
        for reply, _ in calls:
            drops.update(reply.drops)
        return cls(
            asked,
            collection=calls[0][0].collection,
            ids=np.concatenate([reply.ids for reply, _ in calls]),
            scores=np.concatenate([reply.scores for reply, _ in calls]),
            starved=sum(int(reply.starved.sum()) for reply, _ in calls),
            filled=sum(int(reply.fills.sum()) for reply, _ in calls if reply.fills is not None),
            exact_scores=all(reply.exact_scores for reply, _ in calls),
            drops=dict(drops),
            seconds=tuple(seconds for _, seconds in calls),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Groups that say which negatives are false.

    Attributes:
        anchors: int64 [B], -1 = none.
        items: ids int64 [m], ascending.
        groups: int64 [m] of the items, -1 = none.
    """

    anchors: I64
    items: I64
    groups: I64

    def false(self, ids: I64) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which of the ids [B, w] are of their anchor's group, and of which that is known at all: bool [B, w] each."""
        if not self.items.size:
            nothing = np.zeros(ids.shape, np.bool_)
            return nothing, nothing
        places = np.minimum(np.searchsorted(self.items, ids), len(self.items) - 1)
        groups = np.where(self.items[places] == ids, self.groups[places], -1)
        known = (groups >= 0) & (self.anchors[:, None] >= 0)
        return known & (groups == self.anchors[:, None]), known


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two sides on the same B anchors.

    Attributes:
        k: negatives asked for an anchor.
        sides: a and b.
        labels: of the anchors and of everything returned; None = the anchors have none.
    """

    k: int
    sides: tuple[Side, Side]
    labels: Labels | None

    @property
    def collection(self) -> str:
        """The concrete one."""
        return self.sides[0].collection

    @property
    def anchors(self) -> int:
        """B."""
        return len(self.sides[0].ids)

    def shared(self) -> I64:
        """int64 [B]: negatives of each anchor that both sides returned."""
        distinct, dense = np.unique(np.concatenate([side.ids.reshape(-1) for side in self.sides]), return_inverse=True)
        first, second = (
            (np.arange(self.anchors)[:, None] * len(distinct) + codes.reshape(side.ids.shape))[side.ids >= 0]
            for side, codes in zip(self.sides, np.split(dense.reshape(-1), [self.sides[0].ids.size]), strict=True)
        )
        same = np.intersect1d(first, second, assume_unique=True)  # pairs of an anchor and an id
        return np.bincount(same // max(1, len(distinct)), minlength=self.anchors)

    def overlaps(self) -> F64:
        """float64 [B]: shared negatives as a share of k."""
        return self.shared() / self.k

    def jaccards(self) -> F64:
        """float64 [B]: shared negatives as a share of all that either returned; NaN where neither returned any."""
        shared = self.shared()
        first, second = ((side.ids >= 0).sum(axis=1) for side in self.sides)
        return _ratio(shared, first + second - shared)

    def false_by_place(self, side: Side) -> F64:
        """float64 [w]: share of false negatives at each place, NaN where none is known; all NaN without labels."""
        if self.labels is None:
            return np.full(side.ids.shape[1], np.nan)
        false, known = self.labels.false(side.ids)
        return _ratio(false.sum(axis=0), known.sum(axis=0))

    def summary(self) -> dict[str, Any]:
        """All numbers, as JSON has them."""
        overlaps, jaccards = self.overlaps(), self.jaccards()
        return {
            "collection": self.collection,
            "anchors": self.anchors,
            "k": self.k,
            "a": self.measured(self.sides[0]),
            "b": self.measured(self.sides[1]),
            "overlap": {
                "mean": float(overlaps.mean()),
                "jaccard": float(np.nanmean(jaccards)) if np.isfinite(jaccards).any() else None,
                "anchors_with_the_same": float((jaccards == 1).mean()),
                "anchors_with_none_shared": float((overlaps == 0).mean()),
            },
        }

    def measured(self, side: Side) -> dict[str, Any]:
        """The numbers of one side."""
        scores = side.scores[side.ids >= 0].astype(np.float64)
        low, middle, high = np.quantile(scores, [0.1, 0.5, 0.9]).tolist() if scores.size else (None,) * 3
        seconds = sum(side.seconds)
        return {
            "options": side.asked,
            "negatives": int(scores.size),
            "starved": side.starved,
            "filled": side.filled,
            "scores": "exact" if side.exact_scores else "estimated",
            "score_mean": float(scores.mean()) if scores.size else None,
            "score_std": float(scores.std()) if scores.size else None,
            "score_p10": low,
            "score_p50": middle,
            "score_p90": high,
            **self._false(side),
            "drops": side.drops,
            "seconds": seconds,
            "call_ms": float(np.median(side.seconds)) * 1000,
            "anchors_per_s": self.anchors / seconds,
        }

    def _false(self, side: Side) -> dict[str, Any]:
        if self.labels is None:
            return dict.fromkeys(("judged", "false_negatives", "false_negative_rate", "anchors_with_false_negatives"))
        false, known = self.labels.false(side.ids)
        judged = int(known.sum())
        return {
            "judged": judged,
            "false_negatives": int(false.sum()),
            "false_negative_rate": float(false.sum() / judged) if judged else None,
            "anchors_with_false_negatives": float(false.any(axis=1).mean()),
        }


def _ratio(part: I64, whole: I64) -> F64:
    """part / whole, NaN where there is no whole."""
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
