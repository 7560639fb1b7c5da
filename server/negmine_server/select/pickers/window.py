"""window: ranks [range_min, range_max) of what passed the filters, then the hardest or random ones.

range_min, range_max and the sampling are sentence-transformers' parameters; FlagEmbedding takes 15 at random from
ranks 10 to 210, ANCE 20 at random from the first 200.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from negmine.v1 import policy_pb2

from negmine_server.domain import I64
from negmine_server.errors import InvalidInput
from negmine_server.select.policy import Picks, Policy, Pool, lowest_keys, places, random_keys


@dataclass(frozen=True, slots=True)
class Window(Policy):
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

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Window."""
        if message.sampling not in policy_pb2.Window.Sampling.values():
            raise InvalidInput(f"policy.window.sampling is {message.sampling}", field="policy.window.sampling")
        return cls(message.range_min, message.range_max, message.sampling == policy_pb2.Window.SAMPLING_RANDOM)

    def check(self, k: int, pool_max: int) -> None:
        """See Policy."""
        width = self.range_max - self.range_min
        if width < k:
            raise InvalidInput(
                f"k is {k} and policy.window holds {width} ranks; expected at least k", field="policy.window"
            )
        if self.range_max > pool_max:
            raise self.too_large("range_max", self.range_max, pool_max)

    def wanted(self, k: int) -> int:
        """Up to the window's end when sampling, else the first k of it."""
        return self.range_max if self.random else min(self.range_max, self.range_min + k)

    def pick(self, pool: Pool, k: int) -> Picks:
        """k places of the window, in rank order."""
        if not self.random:
            return Picks(places(pool, min(k, self.range_max - self.range_min), self.range_min))
        rank = np.arange(pool.ids.shape[1])[None, :]
        inside = (rank >= self.range_min) & (rank < self.range_max) & pool.there
        return Picks(lowest_keys(random_keys(pool), inside, k))

    def passed_over(self, pool: Pool) -> I64:
        """Candidates before range_min."""
        return np.minimum(pool.counts, self.range_min).astype(np.int64)
