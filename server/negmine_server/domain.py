"""The frozen dataclasses that travel the two data paths.

`Query` and `Candidates` travel the mining path, `Batch` and `Applied` the upsert path; `Negatives` leaves it and
`Watermark` ties them together. All arrays are C-contiguous numpy arrays in native (little-endian) byte order.
B is the number of anchors, n the number of items, b the code's bits, W = b / 64 its words, d the dimension.
Scores everywhere: float32, higher = more similar.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
Bool = NDArray[np.bool_]

NO_GROUP = -1  # an item or anchor without a group
NO_ID = -1  # padding in an id matrix, and "no own id" of an anchor
NO_NUMBER = 2**62  # beyond every bucket's
STEP_BITS = 40
STEP_MAX = (1 << STEP_BITS) - 1


class Metric(Enum):
    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"


class Scoring(Enum):
    """How a scan scores an item against an anchor."""

    SYMMETRIC = "symmetric"  # sign code against sign code, by Hamming distance
    ASYMMETRIC = "asymmetric"  # int8 anchor against sign code
    FLOAT = "float"  # stored vectors, every row, exact


class VectorStore(Enum):
    """What is kept beside the codes, for rescoring and exhaustive scoring."""

    NONE = "none"
    INT8 = "int8"  # one float32 scale a row
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class VectorsOn(Enum):
    """Where a device reads stored vectors."""

    DEVICE = "device"
    HOST = "host"  # in pinned memory, over the bus


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """An item's version: `generation` = attempt of the training run, `step` = model step. A higher version wins."""

    generation: int
    step: int

    def pack(self) -> int:
        """One int64 that orders as the pair does: generation << 40 | step."""
        return (self.generation << STEP_BITS) | self.step

    @staticmethod
    def unpack(packed: int) -> Version:
        return Version(int(packed) >> STEP_BITS, int(packed) & STEP_MAX)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Encoded upserts (or deletes) for one shard; applied whole or not at all. Ids are unique within a batch."""

    ids: I64  # [n], >= 0
    versions: I64  # [n], packed
    codes: U64 | None = None  # [n, W]; None = this batch deletes its ids
    corrections: F32 | None = None  # [n], f(x) of the asymmetric estimate
    norms: F32 | None = None  # [n], the embedding's length; inner product only
    groups: I64 | None = None  # [n], NO_GROUP = none
    tags: U64 | None = None  # [n]
    uncertainties: F32 | None = None  # [n], NaN = none
    vectors: NDArray[np.generic] | None = None  # [n, d] int8, float16 or float32
    scales: F32 | None = None  # [n], with int8 vectors
    writer: str = ""  # empty = unnumbered: a retry is then applied again
    number: int = 0  # > 0 where a writer is given
    time_ms: int = 0  # wall clock at arrival, ages tombstones

    @property
    def deletes(self) -> bool:
        return self.codes is None

    @property
    def rows(self) -> int:
        return int(self.ids.shape[0])

    def take(self, rows: I64) -> Batch:
        """The batch with some of its rows; same writer and number."""
        return Batch(**_taken(self, rows))


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of a batch in one shard."""

    sequence: int  # the log's sequence number that holds it
    inserted: int = 0
    overwritten: int = 0
    deleted: int = 0
    stale: int = 0  # rows dropped because a newer version is there
    duplicate: bool = False  # the writer's number was applied before


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """Encoded anchors with the filters that act inside the scan.

    The cursor (`after_scores`, `after_ids`) admits only rows that come strictly after it in result order (score
    descending, id ascending). A score ceiling is the cursor (ceiling, -1); a continued scan is the last row seen.
    """

    scoring: Scoring
    codes: U64  # [B, W]
    values: NDArray[np.int8] | None  # [B, b], asymmetric only
    scales: F32  # [B], multiplies every score: the int8 scale when asymmetric, else the anchor's length (1 for cosine)
    vectors: F32 | None  # [B, d], for rescoring and FLOAT; unit length when the metric is cosine
    after_scores: F32  # [B], +inf = from the top
    after_ids: I64  # [B]
    floors: F32  # [B], lowest score admitted, -inf = any
    exclude_groups: I64  # [B], NO_GROUP = none
    require_tags: U64  # [B], all of these bits
    forbid_tags: U64  # [B], none of these bits
    min_steps: I64  # [B], lowest model step admitted
    probes: I64 | None = None  # [B, P] numbers of the buckets to look at, nearest first, -1 = none; None = every row
    new_buckets: int = NO_NUMBER  # buckets from this number on are looked at too: they came after the probes

    @property
    def rows(self) -> int:
        return int(self.codes.shape[0])

    def take(self, rows: I64 | slice) -> Query:
        """Some of the anchors."""
        return Query(**_taken(self, rows))


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The best rows of a scan, per anchor, sorted by score descending and id ascending; padded with NO_ID, -inf."""

    ids: I64  # [B, R]
    scores: F32  # [B, R], the scan's score
    rescored: F32 | None  # [B, R], exact scores from stored vectors, in the same positions
    versions: I64  # [B, R], packed
    counts: I32  # [B], rows that are there
    above: I64  # [B], rows that are otherwise eligible but come before the cursor
    scanned: int = 0  # rows scored per anchor
    scan_s: float = 0.0
    rescore_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Watermark:
    """What a collection has made visible: its incarnation, the shard map's epoch and a log sequence per shard."""

    incarnation: str
    epoch: int
    sequences: tuple[int, ...]

    def __str__(self) -> str:
        return f"of incarnation {self.incarnation!r}, epoch {self.epoch}, {len(self.sequences)} shards"

    def reached(self, wanted: Watermark) -> bool:
        return all(have >= want for have, want in zip(self.sequences, wanted.sequences, strict=True))


class DropReason(Enum):
    """Why a candidate was not returned. Counts of drops have a column for each, in this order."""

    OWN_ID = "own_id"
    POSITIVE = "positive"
    MARGIN = "margin"  # above the positive's score less the margin
    MAX_SCORE = "max_score"
    MIN_SCORE = "min_score"
    WINDOW = "window"  # before the rank window


class Filled(Enum):
    """Why an anchor has as many negatives as it has."""

    FULL = "full"
    EXHAUSTED = "exhausted"  # nothing eligible is left
    BUDGET = "budget"  # max_scanned candidates were looked at
    NO_POSITIVE_SCORE = "no_positive_score"  # a margin was asked for and the anchor has no positive's score


class Fill(Enum):
    """What fills the places of an anchor that has fewer than k."""

    NOTHING = "nothing"
    RANDOM = "random"
    RELAXED = "relaxed"


@dataclass(frozen=True, slots=True, eq=False)
class Negatives:
    """The answer to one Mine, B anchors by at most k negatives; wider where the policy returns its whole pool."""

    ids: I64  # [B, k], NO_ID beyond counts
    scores: F32  # [B, k], NaN beyond counts
    standard_errors: F32  # [B, k], 0 where exact
    versions: I64  # [B, k], packed
    counts: I32  # [B]
    filled: tuple[Filled, ...]  # [B]
    positive_scores: F32  # [B], s+ in the same kind of score; NaN = none
    missing_positives: I64  # [m, 2], (anchor, id) of positives that are unknown or deleted, by anchor
    exact: bool  # scores are exact, not estimated from codes
    drops: I64  # [B, reasons]
    watermark: Watermark
    newest: Version
    scanned: I64  # [B], rows scored
    ungrouped: I64  # [B], how many have no group though their anchor has one
    vectors: F32 | None = None  # [B, k, d] stored vectors, zero beyond counts
    weights: F32 | None = None  # [B, k] importance weights, zero beyond counts; where the policy defines them
    fills: I32 | None = None  # [B], how many of the last ones only fill; where that was asked for

    def part(self, start: int, stop: int) -> Negatives:
        """The answer for the anchors [start, stop), as if they had come alone."""
        if (start, stop) == (0, len(self.counts)):
            return self
        rows = slice(start, stop)
        first, last = np.searchsorted(self.missing_positives[:, 0], (start, stop))
        return replace(
            self,
            ids=self.ids[rows],
            scores=self.scores[rows],
            standard_errors=self.standard_errors[rows],
            versions=self.versions[rows],
            counts=self.counts[rows],
            filled=self.filled[rows],
            positive_scores=self.positive_scores[rows],
            missing_positives=self.missing_positives[first:last] - (start, 0),
            drops=self.drops[rows],
            scanned=self.scanned[rows],
            vectors=None if self.vectors is None else self.vectors[rows],
            weights=None if self.weights is None else self.weights[rows],
            fills=None if self.fills is None else self.fills[rows],
            ungrouped=self.ungrouped[rows],
        )


def _taken(whole: Batch | Query, rows: I64 | slice) -> dict[str, Any]:
    """The fields of a dataclass with its arrays cut to some rows."""
    values = {item.name: getattr(whole, item.name) for item in fields(whole)}
    return {name: value[rows] if isinstance(value, np.ndarray) else value for name, value in values.items()}
