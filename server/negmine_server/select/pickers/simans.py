"""simans: sampled around the positive's score, p in proportion to exp(-a (s - s⁺ - b)²) (SimANS: Zhou et al., 2022).

The sign of b is that of the paper's README; parts of its code have the other one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.select.policy import Picks, Policy, Pool, checked, pool_for, random_keys
from negmine_server.select.sampling import sample

_FARTHEST = 1e150  # from the offset: its square is a number


@dataclass(frozen=True, slots=True)
class Simans(Policy):
    """Without replacement; a = 0 is uniform over the pool.

    Raises:
        InvalidInput: a is negative, or a value is not finite.
    """

    a: float
    b: float
    pool: int = 0  # 0 = chosen by k

    name = "simans"
    needs_positive = True

    def __post_init__(self) -> None:
        checked(self.name, "a", self.a, 0)
        checked(self.name, "b", self.b, -np.inf)

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Simans."""
        return cls(message.a, message.b, message.pool)

    def wanted(self, k: int) -> int:
        """The pool."""
        return pool_for(k, self.pool)

    def pick(self, pool: Pool, k: int) -> Picks:
        """In rank order, with weights that undo the sampling."""
        positives = pool.positive_scores.astype(np.float64)[:, None]
        among = pool.there & ~np.isnan(positives)
        gaps = np.where(among, pool.scores - positives - self.b, 0).clip(-_FARTHEST, _FARTHEST)
        with np.errstate(over="ignore"):
            log_weights = -self.a * gaps**2
        return sample(log_weights, among, random_keys(pool), k)
