"""window: ranks [range_min, range_max) of what passed the filters, then the hardest or random ones.

range_min, range_max and the sampling are sentence-transformers' parameters; FlagEmbedding takes 15 at random from
ranks 10 to 210, ANCE 20 at random from the first 200.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negmine_server.domain import I64
from negmine_server.errors import InvalidInput
from negmine_server.select.policy import Pool, places, random_keys


@dataclass(frozen=True, slots=True)
class Window:
    """Ranks counted from 0.

    Raises:
        InvalidInput: range_max is not above range_min.
    """

    range_min: int
    range_max: int
    random: bool = False

    name = "window"

    def __post_init__(self) -> None:
        if self.range_max <= self.range_min:
            raise InvalidInput(
                f"policy.window is [{self.range_min}, {self.range_max}); expected range_max above range_min",
                field="policy.window.range_max",
            )

    def wanted(self, k: int) -> int:
        """Up to the window's end when sampling, else the first k of it."""
        return self.range_max if self.random else min(self.range_max, self.range_min + k)

    def pick(self, pool: Pool, k: int) -> I64:
        """k places of the window, in rank order."""
        if not self.random:
            return places(pool, min(k, self.range_max - self.range_min), self.range_min)
        width = pool.ids.shape[1]
        rank = np.arange(width)[None, :]
        inside = (rank >= self.range_min) & (rank < self.range_max) & (rank < pool.counts[:, None])
        keys = np.where(inside, random_keys(pool) >> np.uint64(1), np.uint64(2**64 - 1))
        chosen = np.argsort(keys, axis=1, kind="stable")[:, :k]
        chosen = np.where(np.take_along_axis(inside, chosen, axis=1), chosen, width)
        chosen = np.sort(chosen, axis=1)
        return np.where(chosen < width, chosen, -1)

    def passed_over(self, pool: Pool) -> I64:
        """Candidates before range_min."""
        return np.minimum(pool.counts, self.range_min).astype(np.int64)
