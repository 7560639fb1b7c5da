"""dss: the nearest, then random ones of the next ranks: dynamic similarity sampling (Sample4Geo: Deuser et al., 2023).

Sample4Geo takes 64 of 128: the 32 nearest, and 32 at random of ranks 32 to 127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.errors import InvalidInput
from negmine_server.select.policy import Picks, Policy, Pool, lowest_keys, places, random_keys


@dataclass(frozen=True, slots=True)
class Dss(Policy):
    """`nearest` of the k are the nearest; the rest are uniform over the other ranks of the pool."""

    pool: int
    nearest: int

    name = "dss"

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Dss."""
        return cls(message.pool, message.nearest)

    def check(self, k: int, pool_max: int) -> None:
        """See Policy."""
        Policy.check(self, k, pool_max)
        if self.nearest > k:
            raise InvalidInput(
                f"policy.dss.nearest is {self.nearest} and k is {k}; expected at most k", field="policy.dss.nearest"
            )

    def wanted(self, k: int) -> int:
        """The pool."""
        return self.pool

    def pick(self, pool: Pool, k: int) -> Picks:
        """In rank order."""
        nearest = min(self.nearest, k)
        rest = pool.there & (np.arange(pool.ids.shape[1]) >= nearest)
        drawn = lowest_keys(random_keys(pool), rest, k - nearest)
        return Picks(np.concatenate([places(pool, nearest), drawn], axis=1))
