"""Recall against time, one curve an index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.result import Result


@dataclass(frozen=True)
class Point:
    """One setting of an index."""

    recall: float  # share of the true 64 neighbours
    ms: float  # of 1,024 queries
    setting: dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """An index on some data, over its settings."""

    name: str
    slug: str  # its part of the figure's name
    bits: int  # of a code; 0 = it has none
    memory_bytes: int  # of the index, and of the vectors that it rescores with
    build_s: float
    points: tuple[Point, ...]

    @property
    def best_recall(self) -> float:
        """The highest that any setting reaches."""
        return max(point.recall for point in self.points)

    def fastest(self, recall: float) -> Point:
        """The fastest setting with at least this recall; where there is none, the one of highest recall."""
        level = min(recall, self.best_recall)
        return min((point for point in self.points if point.recall >= level), key=lambda point: point.ms)

    @property
    def front(self) -> list[Point]:
        """The settings that no other beats in both, by recall."""
        kept: list[Point] = []
        for point in sorted(self.points, key=lambda point: (point.ms, -point.recall)):
            if not kept or point.recall > kept[-1].recall:
                kept.append(point)
        return kept

    def result(self, data: str, recall: float, peer: Curve | None, params: dict[str, Any]) -> Result:
        """`recall.<data>.<slug>`: ms at this recall, or at the highest that both sides reach."""
        level = min(recall, self.best_recall, peer.best_recall if peer else 1.0)
        at = self.fastest(level)
        other = peer.fastest(level) if peer else None
        own: dict[str, Any] = {"recall": at.recall, "recall_wanted": level, "setting": at.setting}
        own |= {"memory_bytes": self.memory_bytes, "build_s": self.build_s, "bits": self.bits}
        if other is not None and peer is not None:
            own |= {"peer_recall": other.recall, "peer_setting": other.setting, "peer_memory_bytes": peer.memory_bytes}
        own["curve"] = [[round(point.recall, 4), round(point.ms, 2)] for point in self.front]
        name, peer_name = f"recall.{data}.{self.slug}", peer.name if peer else ""
        return Result(name, at.ms, "ms", "lower", None, peer_name, other.ms if other else None, params | own)
