"""softmax: sampled with probability in proportion to exp(beta * score), HCL's hardness (Robinson et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.select.policy import Picks, Policy, Pool, checked, pool_for, random_keys
from negmine_server.select.sampling import sample


@dataclass(frozen=True, slots=True)
class Softmax(Policy):
    """Without replacement; beta = 0 is uniform over the pool.

    Raises:
        InvalidInput: beta is negative or not finite.
    """

    beta: float
    pool: int = 0  # 0 = chosen by k

    name = "softmax"

    def __post_init__(self) -> None:
        checked(self.name, "beta", self.beta, 0)

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Softmax."""
        return cls(message.beta, message.pool)

    def wanted(self, k: int) -> int:
        """The pool."""
        return pool_for(k, self.pool)

    def pick(self, pool: Pool, k: int) -> Picks:
        """In rank order, with weights that undo the sampling."""
        scores = np.where(pool.there, pool.scores, 0).astype(np.float64)
        with np.errstate(over="ignore"):
            log_weights = self.beta * (scores - scores[:, :1])  # none is above 0, so that sums stay numbers
        return sample(log_weights, pool.there, random_keys(pool), k)
