"""What became of a mined file, and where it comes from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import negmine
from negmine.cli.session import plain
from negmine.cli.sinks import Provenance


@dataclass(slots=True)
class Tally:
    """Counts over all batches of a run.

    Attributes:
        anchors: mined.
        rows: written.
        outcomes: anchors by outcome.
        drops: dropped candidates by reason.
        missing_positives: positives that are not in the collection.
        fills: negatives that only fill the places of starved anchors.
        ungrouped: negatives without a group whose anchor has one.
        exact_scores: kinds of scores seen: exact or estimated.
        watermark: state that every batch was made from, at least.
        newest: the newest version seen.
        collection: the concrete collection.
    """

    anchors: int = 0
    rows: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    missing_positives: int = 0
    fills: int = 0
    ungrouped: int = 0
    exact_scores: set[bool] = field(default_factory=set)
    watermark: negmine.Watermark | None = None
    newest: negmine.Version | None = None
    collection: str = ""

    def add(self, mined: negmine.Negatives, rows: int) -> None:
        """Counts one batch.

        Raises:
            IncarnationMismatch: an alias moved to another collection between two batches.
        """
        self.anchors += len(mined)
        self.rows += rows
        self.outcomes.update(outcome.value for outcome in mined.outcomes)
        self.drops.update(mined.drops)
        self.missing_positives += len(mined.missing_positives)
        self.fills += 0 if mined.fills is None else int(mined.fills.sum())
        self.ungrouped += mined.ungrouped
        self.exact_scores.add(mined.exact_scores)
        self.watermark = mined.watermark if self.watermark is None else self.watermark.floor(mined.watermark)
        self.newest = mined.newest if self.newest is None else max(self.newest, mined.newest)
        self.collection = mined.collection

    @property
    def starved(self) -> int:
        """Anchors with fewer than k negatives."""
        return self.anchors - self.outcomes[negmine.Outcome.FULL.value]

    @property
    def score_kind(self) -> str:
        """Whether scores are exact, estimated from codes, or of both kinds."""
        kinds = ["exact" if exact else "estimated" for exact in sorted(self.exact_scores)]
        return " and ".join(kinds)

    def summary(self) -> dict[str, Any]:
        """The counts, for an answer."""
        return {
            "collection": self.collection,
            "anchors": self.anchors,
            "rows": self.rows,
            "starved": self.starved,
            "outcomes": dict(self.outcomes),
            "drops": dict(self.drops),
            "missing_positives": self.missing_positives,
            "fills": self.fills,
            "ungrouped": self.ungrouped,
            "scores": self.score_kind,
            "watermark": plain(self.watermark),
        }


def provenance(
    tally: Tally, info: negmine.CollectionInfo, server: negmine.ServerInfo, asked: dict[str, Any]
) -> Provenance:
    """Everything that decides the content of a mined file, as JSON has it.

    Args:
        tally: of the run.
        info: the collection.
        server: that mined.
        asked: the arguments of the run: anchors, k, format, policy, protection, options.
    """
    return {
        **tally.summary(),
        "newest": plain(tally.newest),
        "dimension": info.dimension,
        "bits": info.bits,
        "metric": info.metric,
        "vectors": info.vectors,
        "encoder": info.fingerprint,
        **plain(asked),
        "server_version": server.version,
        "backend": server.backend,
        "client_version": negmine.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
