"""distance_weighted: sampled with the inverse of the density of distances between random unit vectors.

Wu et al. (2017), "Sampling matters in deep embedding learning": with d² = 2 - 2 s and n dimensions,
log w = (2 - n) log d - (n - 3) / 2 · log(1 - d² / 4), d at least `cutoff`, no weight from `nonzero_loss_cutoff` on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.domain import F32
from negmine_server.errors import InvalidInput
from negmine_server.select.policy import Picks, Policy, Pool, checked, pool_for, random_keys
from negmine_server.select.protection import above
from negmine_server.select.sampling import sample


@dataclass(frozen=True, slots=True)
class DistanceWeighted(Policy):
    """Without replacement; what has no weight is never picked, and the scan does not bring it.

    Raises:
        InvalidInput: a cutoff is not a distance between unit vectors, or cutoff is not below nonzero_loss_cutoff.
    """

    cutoff: float = 0.5
    nonzero_loss_cutoff: float = 1.4
    pool: int = 0  # 0 = chosen by k

    name = "distance_weighted"
    cosine_only = True

    def __post_init__(self) -> None:
        checked(self.name, "cutoff", self.cutoff, 0, 2, above=True)
        checked(self.name, "nonzero_loss_cutoff", self.nonzero_loss_cutoff, 0, 2, above=True)
        if self.cutoff >= self.nonzero_loss_cutoff:
            raise InvalidInput(
                f"policy.distance_weighted.cutoff is {self.cutoff:g}; expected a value below nonzero_loss_cutoff, "
                f"which is {self.nonzero_loss_cutoff:g}",
                field="policy.distance_weighted.cutoff",
            )

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's DistanceWeighted."""
        given = {name: getattr(message, name) for name in ("cutoff", "nonzero_loss_cutoff") if message.HasField(name)}
        return cls(**given, pool=message.pool)

    def wanted(self, k: int) -> int:
        """The pool."""
        return pool_for(k, self.pool)

    def band(self, positive_scores: F32) -> tuple[F32, F32]:
        """No higher limit; the lowest float32 score that is nearer than nonzero_loss_cutoff."""
        highest = np.full(len(positive_scores), np.inf, np.float32)
        return highest, np.full_like(highest, above(np.array(1 - self.nonzero_loss_cutoff**2 / 2)))

    def pick(self, pool: Pool, k: int) -> Picks:
        """In rank order, with weights that undo the sampling."""
        scores = np.clip(pool.scores.astype(np.float64), -1, 1)
        distances = np.maximum(np.sqrt(2 - 2 * scores), self.cutoff)
        near = pool.there & (distances < self.nonzero_loss_cutoff)
        distances[~near] = self.cutoff
        n = pool.dimension
        log_weights = (2 - n) * np.log(distances) - (n - 3) / 2 * np.log1p(-(distances**2) / 4)
        return sample(log_weights, near, random_keys(pool), k)
