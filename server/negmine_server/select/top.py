"""top: the k hardest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negmine_server.domain import I64
from negmine_server.select.policy import Pool, places


@dataclass(frozen=True, slots=True)
class Top:
    """The k hardest."""

    name = "top"

    def wanted(self, k: int) -> int:
        """k."""
        return k

    def pick(self, pool: Pool, k: int) -> I64:
        """The first k places."""
        return places(pool, k)

    def passed_over(self, pool: Pool) -> I64:
        """None."""
        return np.zeros(len(pool.counts), np.int64)
