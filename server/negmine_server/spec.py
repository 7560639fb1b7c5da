"""What a collection is, and its form in the catalog."""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from negmine.encoder import BITS_MAX, DIMENSION_MAX, Encoder

from negmine_server.domain import F32, Metric, VectorStore
from negmine_server.engine.routing import SHARDS_MAX
from negmine_server.errors import InvalidInput


@dataclass(frozen=True, slots=True, eq=False)
class CollectionSpec:
    """Fixed when a collection is created, but for an estimated mean, which is fixed when the encoder freezes."""

    dimension: int
    bits: int
    metric: Metric
    store: VectorStore
    seed: int
    mean: F32 | None  # [dimension], None = zero
    estimate_rows: int  # rows that the mean is estimated from, 0 = it is not
    shards: int
    recall_target: float

    def check(self) -> None:
        """Raises InvalidInput naming the value that is out of range."""
        for field, value, low, high in (
            ("dimension", self.dimension, 1, DIMENSION_MAX),
            ("bits", self.bits, 64, BITS_MAX),
            ("shards", self.shards, 1, SHARDS_MAX),
        ):
            if not low <= value <= high:
                raise InvalidInput(f"spec.{field} is {value}; expected {low} to {high}", field=f"spec.{field}")
        if self.bits % 64:
            raise InvalidInput(f"spec.bits is {self.bits}; expected a multiple of 64", field="spec.bits")
        if self.shards & (self.shards - 1):
            raise InvalidInput(f"spec.shards is {self.shards}; expected a power of two", field="spec.shards")
        if not 0 < self.recall_target <= 1:
            raise InvalidInput(
                f"spec.recall_target is {self.recall_target}; expected a value in (0, 1]", field="spec.recall_target"
            )

    @property
    def estimating(self) -> bool:
        """Whether the mean is still to be estimated."""
        return self.estimate_rows > 0 and self.mean is None

    @property
    def kept_store(self) -> VectorStore:
        """What shards keep beside the codes now: float32 until the mean is estimated."""
        return VectorStore.FLOAT32 if self.estimating else self.store

    def with_mean(self, mean: F32) -> CollectionSpec:
        """The spec with its mean estimated."""
        return replace(self, mean=mean)

    def encoder(self) -> Encoder:
        """The encoder; with a zero mean while it is estimated."""
        return Encoder(self.dimension, self.bits, seed=self.seed, mean=self.mean, cosine=self.metric is Metric.COSINE)

    def same_as(self, other: CollectionSpec) -> bool:
        """Whether a collection of this spec may stand in for one of the other, whatever has been estimated."""
        mine, others = self.to_json(), other.to_json()
        if self.estimate_rows:
            mine["mean"] = others["mean"] = None
        return mine == others

    def to_json(self) -> dict[str, Any]:
        """Plain values; the mean as base64 of float32."""
        return {
            "dimension": self.dimension,
            "bits": self.bits,
            "metric": self.metric.value,
            "store": self.store.value,
            "seed": self.seed,
            "mean": None if self.mean is None else base64.b64encode(self.mean.astype("<f4").tobytes()).decode(),
            "estimate_rows": self.estimate_rows,
            "shards": self.shards,
            "recall_target": self.recall_target,
        }

    @staticmethod
    def from_json(values: dict[str, Any]) -> CollectionSpec:
        """The inverse of `to_json`. Raises KeyError or ValueError for what `to_json` never made."""
        mean = values["mean"]
        return CollectionSpec(
            dimension=int(values["dimension"]),
            bits=int(values["bits"]),
            metric=Metric(values["metric"]),
            store=VectorStore(values["store"]),
            seed=int(values["seed"]),
            mean=None if mean is None else np.frombuffer(base64.b64decode(mean), "<f4").astype(np.float32),
            estimate_rows=int(values["estimate_rows"]),
            shards=int(values["shards"]),
            recall_target=float(values["recall_target"]),
        )
