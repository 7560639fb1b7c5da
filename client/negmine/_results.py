"""What the SDK hands back: frozen dataclasses of numpy arrays and plain values.

B is the number of anchors, n of items, k of negatives an anchor, d the dimension. Scores: higher = more similar.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from negmine._exceptions import IncarnationMismatch

if TYPE_CHECKING:
    from negmine._encoding import Codes

Array: TypeAlias = Any  # numpy array, or torch tensor on the anchors' device where the anchors were a torch tensor


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """An item's version: `generation` = attempt of the training run, `step` = model step. A higher pair wins."""

    generation: int
    step: int


@dataclass(frozen=True, slots=True)
class Watermark:
    """What a collection has made durable and visible.

    Attributes:
        incarnation: of the collection; another one means another collection behind the same name.
        epoch: version of the shard map.
        sequences: per shard, the log's sequence number up to which everything is visible.
    """

    incarnation: str
    epoch: int
    sequences: tuple[int, ...]

    def merge(self, other: Watermark) -> Watermark:
        """The state that holds both: the larger sequence per shard; of two epochs the later, which holds the earlier.

        Raises:
            IncarnationMismatch: they belong to different collections.
        """
        if self.epoch != other.epoch and self.incarnation == other.incarnation:
            return max(self, other, key=lambda mark: mark.epoch)
        return self._combine(other, max)

    def floor(self, other: Watermark) -> Watermark:
        """The state that both hold: the smaller sequence per shard.

        Raises:
            IncarnationMismatch: they belong to different collections.
        """
        if self.epoch != other.epoch and self.incarnation == other.incarnation:
            return min(self, other, key=lambda mark: mark.epoch)
        return self._combine(other, min)

    def _combine(self, other: Watermark, pick: Callable[[int, int], int]) -> Watermark:
        if self.incarnation != other.incarnation:
            raise IncarnationMismatch(
                f"watermarks of incarnations {self.incarnation!r} and {other.incarnation!r} cannot be combined: "
                "they belong to different collections"
            )
        return Watermark(self.incarnation, self.epoch, tuple(map(pick, self.sequences, other.sequences)))


class Outcome(StrEnum):
    """What became of an anchor."""

    FULL = "full"  # k negatives
    EXHAUSTED = "exhausted"  # fewer: nothing eligible is left in the collection
    BUDGET = "budget"  # fewer: max_scanned candidates were looked at
    NO_POSITIVE_SCORE = "no_positive_score"  # none: a margin was asked for and no positive has a score


@dataclass(frozen=True, slots=True, eq=False)
class Negatives:
    """Negatives of B anchors, at most k each. Arrays are torch tensors where the anchors were.

    Attributes:
        ids: int64 [B, k], hardest first unless the policy orders otherwise; -1 beyond counts.
        scores: float32 [B, k]; NaN beyond counts.
        counts: int32 [B], negatives of each anchor.
        outcomes: what became of each anchor, B of them.
        exact_scores: whether scores come from stored vectors, or are estimated from codes.
        drops: dropped candidates by reason, over all anchors: own_id, positive, margin, max_score, min_score, window.
        missing_positives: (anchor, id) of positives that are not in the collection; excluded by id all the same.
        timings_ms: where the server's time went, by stage; summed where the call was sent in parts.
        watermark: state that the answer was made from, at least.
        newest: the collection's newest version.
        rows_scanned: rows scored per anchor.
        collection: the concrete collection behind the alias.
        standard_errors: float32 [B, k] of estimated scores; None where they are exact.
        positive_scores: float32 [B], the score that margins were taken against, NaN = none; None where unneeded.
        steps: int64 [B, k], -1 beyond counts; with return_versions.
        generations: int64 [B, k], -1 beyond counts; with return_versions.
        embeddings: float32 [B, k, d], zero beyond counts; with return_embeddings.
        weights: float32 [B, k], zero beyond counts; with return_weights, where the policy defines them.
        fills: int32 [B], how many of the anchor's negatives, the last ones, only fill its places; None where `fill` is
            "nothing".
        ungrouped: negatives without a group whose anchor has one: nobody knows whether it is the same.
    """

    ids: Array
    scores: Array
    counts: Array
    outcomes: tuple[Outcome, ...]
    exact_scores: bool
    drops: dict[str, int]
    missing_positives: tuple[tuple[int, int], ...]
    timings_ms: dict[str, float]
    watermark: Watermark
    newest: Version
    rows_scanned: int
    collection: str
    standard_errors: Array | None = None
    positive_scores: Array | None = None
    steps: Array | None = None
    generations: Array | None = None
    embeddings: Array | None = None
    weights: Array | None = None
    fills: Array | None = None
    ungrouped: int = 0

    @property
    def starved(self) -> NDArray[np.bool_]:
        """bool [B]: anchors that have fewer than k."""
        return np.array([outcome is not Outcome.FULL for outcome in self.outcomes], np.bool_)

    def __len__(self) -> int:
        return len(self.outcomes)


@dataclass(frozen=True, slots=True)
class UpsertResult:
    """What became of acked rows.

    Attributes:
        inserted: rows that were new.
        overwritten: rows that replaced an older version.
        stale: rows dropped because a newer version, or a newer delete, is there.
        duplicate: rows of batches that had been applied before the connection broke; not counted above.
        watermark: holds them; None where nothing was sent. Pass it as `min_watermark` to read your writes.
    """

    inserted: int = 0
    overwritten: int = 0
    stale: int = 0
    duplicate: int = 0
    watermark: Watermark | None = None

    @property
    def rows(self) -> int:
        """Rows acked."""
        return self.inserted + self.overwritten + self.stale + self.duplicate


@dataclass(frozen=True, slots=True, eq=False)
class UpsertProgress:
    """What an upsert that failed has put in.

    Attributes:
        result: of the acked batches; `result.rows` rows at least, the first of those sent, are durable and visible.
        rows_sent: rows handed to `send` or `upsert` before the failure.
        applied: bool, one a row of the first batch without a full ack: True = the row is in. None = the server did not
            say; a batch that was refused as invalid put nothing in, after a broken connection it is unknown.
    """

    result: UpsertResult
    rows_sent: int
    applied: NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What was deleted.

    Attributes:
        deleted: rows that were there and are gone.
        stale: ids that stay because a newer version is there.
        watermark: holds the delete.
    """

    deleted: int
    stale: int
    watermark: Watermark


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """n items in the order asked.

    Attributes:
        found: bool [n]; where False, the other arrays hold zeros (groups -1, uncertainties NaN).
        steps: int64 [n].
        generations: int64 [n].
        groups: int64 [n], -1 = none.
        tags: uint64 [n].
        uncertainties: float32 [n], NaN = none.
        embeddings: float32 [n, d] as they serve rescoring; with `embeddings=True`.
        codes: sign codes; with `codes=True`.
        watermark: state that the answer was made from, at least.
    """

    found: NDArray[np.bool_]
    steps: NDArray[np.int64]
    generations: NDArray[np.int64]
    groups: NDArray[np.int64]
    tags: NDArray[np.uint64]
    uncertainties: NDArray[np.float32]
    watermark: Watermark
    embeddings: NDArray[np.float32] | None = None
    codes: Codes | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot of every shard.

    Attributes:
        watermark: what it holds.
        size_bytes: its size.
        rows: rows in it.
        trimmed: log objects that were trimmed behind it.
    """

    watermark: Watermark
    size_bytes: int
    rows: int
    trimmed: int


@dataclass(frozen=True, slots=True)
class ShardStats:
    """One shard: counts, bytes in memory by kind, and its log.

    Attributes:
        shard: its number.
        rows: live rows.
        loose_rows: of these, rows that have not been given their bucket yet: every search looks at them.
        dead_rows: overwritten or deleted rows that wait for compaction.
        tombstones: deletes that are remembered.
        memory_bytes: by kind: codes, ids, versions, …
        log_bytes: behind the latest snapshot.
        snapshot_sequence: of the latest snapshot; 0 = none.
        sequence: up to which the log is applied.
        bucket_rows: live rows of each bucket; one number where there are no buckets.
    """

    shard: int
    rows: int
    loose_rows: int
    dead_rows: int
    tombstones: int
    memory_bytes: dict[str, int]
    log_bytes: int
    snapshot_sequence: int
    sequence: int
    bucket_rows: tuple[int, ...] = field(repr=False)
