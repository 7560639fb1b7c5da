"""diverse: maximal marginal relevance over the pool (Carbonell and Goldstein, 1998).

One after the other, the candidate with the highest trade_off · s - (1 - trade_off) · (its likeness to the most alike of
those picked before). Both are scores of the collection's metric: cosines, or inner products as they are, so that with
anchors and items of very different lengths a trade-off means something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.domain import F32, I64
from negmine_server.select.likeness import Block
from negmine_server.select.policy import Picks, Policy, Pool, checked


@dataclass(frozen=True, slots=True)
class Diverse(Policy):
    """trade_off = 1 is top; 0 takes the nearest, and then only looks at how unlike they are.

    Raises:
        InvalidInput: trade_off is outside [0, 1].
    """

    trade_off: float
    pool: int

    name = "diverse"
    compares = True

    def __post_init__(self) -> None:
        checked(self.name, "trade_off", self.trade_off, 0, 1)

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Diverse."""
        return cls(message.trade_off, message.pool)

    def wanted(self, k: int) -> int:
        """The pool."""
        return self.pool

    def pick(self, pool: Pool, k: int) -> Picks:
        """In the order in which they were taken."""
        assert pool.likeness is not None
        places = np.empty((len(pool.ids), k), np.int64)
        relevance = np.float32(self.trade_off) * np.where(pool.there, pool.scores, np.float32(0))
        relevance[~pool.there] = -np.inf
        for part, block in pool.likeness.blocks():
            self._take(relevance[part], block, places[part])
        places[np.arange(k) >= pool.counts[:, None]] = -1
        return Picks(places)

    def _take(self, relevance: F32, block: Block, places: I64) -> None:
        """Fills places [b, k] for a block of anchors; those beyond its candidates mean nothing."""
        anchors = np.arange(len(relevance))
        likest = np.full_like(relevance, -np.inf)
        marginal, left = relevance.copy(), relevance.copy()
        for step in range(places.shape[1]):
            taken = places[:, step] = marginal.argmax(axis=1)
            left[anchors, taken] = -np.inf
            np.maximum(likest, block.to(taken), out=likest)
            np.subtract(left, np.float32(1 - self.trade_off) * likest, out=marginal)
