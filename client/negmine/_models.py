"""What collections and servers are: values that describe, and values that create."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from negmine._results import ShardStats, Version, Watermark

MetricName: TypeAlias = Literal["cosine", "inner_product"]
VectorStoreName: TypeAlias = Literal["none", "int8", "float16", "float32"]
ScoringName: TypeAlias = Literal["auto", "symmetric", "asymmetric", "float"]
FillName: TypeAlias = Literal["nothing", "random", "relaxed"]
PriorityName: TypeAlias = Literal["step", "bulk"]
StateName: TypeAlias = Literal["serving", "data_loss", "fenced", "loading", "failed"]


@dataclass(frozen=True, slots=True)
class EstimateMean:
    """The encoder's mean is estimated from the first `rows` rows; until then they are kept and scanned as floats."""

    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class CollectionInfo:
    """A collection.

    Attributes:
        name: its own, never an alias.
        dimension: length d of the embeddings.
        bits: of a code.
        metric: what is compared.
        vectors: what is kept beside the codes.
        seed: of the encoder's rotation.
        mean: float32 [d] that the encoder subtracts; None = zero, or not estimated yet.
        estimate_mean: asked for at creation; None = it was not.
        shards: number of shards.
        recall_target: share of the exact answer to be found where a request names none; see `MineOptions`.
        fingerprint: of its encoder; empty until the encoder is frozen.
        watermark: its state.
        newest: the newest version in it.
        generation: the current one.
        rows: live rows.
        state: whether it serves.
        problem: why it does not serve; empty where it does.
        created_ms: milliseconds since 1970.
    """

    name: str
    dimension: int
    bits: int
    metric: MetricName
    vectors: VectorStoreName
    seed: int
    mean: NDArray[np.float32] | None = field(repr=False)
    estimate_mean: EstimateMean | None
    shards: int
    recall_target: float
    fingerprint: str
    watermark: Watermark
    newest: Version
    generation: int
    rows: int
    state: StateName
    problem: str
    created_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Stats:
    """A collection's counts, sizes and balance.

    Attributes:
        collection: the collection.
        loose_rows: rows that have not been given their bucket yet: every search looks at them.
        shards: its shards.
        bucket_max_over_mean: largest bucket over the mean.
        bucket_variation: standard deviation of bucket sizes over their mean.
        bucket_empty_share: share of empty buckets.
        bucket_entropy: entropy of bucket sizes over that of equal ones; 1 = balanced.
        measured_recall: of about the last thousand sampled anchors, as they were served, against their exact answers; 1
            where nothing was measured: scans are exact, or nobody has mined yet.
    """

    collection: CollectionInfo
    loose_rows: int
    shards: tuple[ShardStats, ...]
    bucket_max_over_mean: float
    bucket_variation: float
    bucket_empty_share: float
    bucket_entropy: float
    measured_recall: float

    @property
    def bucket_rows(self) -> NDArray[np.int64]:
        """int64 [buckets]: live rows of each bucket over all shards; one number where there are no buckets.

        Shards that were asked while a bucket came or went may differ in how many they have: then each shard's part of
        a bucket counts as one.
        """
        sizes = [np.array(shard.bucket_rows, np.int64) for shard in self.shards]
        alike = len({len(rows) for rows in sizes}) == 1
        rows: NDArray[np.int64] = np.sum(sizes, axis=0) if alike else np.concatenate(sizes)
        return rows


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the server; 0 = it names none."""

    message_bytes_max: int
    anchors_max: int
    k_max: int
    pool_max: int
    batch_rows_max: int
    upsert_window: int
    collections_max: int
    step_ahead_max: int
    positives_max: int


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The server.

    Attributes:
        version: of the server.
        limits: its bounds.
        features: dotted names of what it serves: policy.top, scoring.float, upsert.codes, …
        backend: of the scan: cpu, cuda.
    """

    version: str
    limits: Limits
    features: frozenset[str]
    backend: str
