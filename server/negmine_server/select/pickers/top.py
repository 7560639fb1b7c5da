"""top: the k hardest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from negmine_server.select.policy import Picks, Policy, Pool, places


@dataclass(frozen=True, slots=True)
class Top(Policy):
    """The k hardest."""

    name = "top"

    @classmethod
    def read(cls, message: Any) -> Self:
        """Without parameters."""
        return cls()

    def wanted(self, k: int) -> int:
        """k."""
        return k

    def pick(self, pool: Pool, k: int) -> Picks:
        """The first k places."""
        return Picks(places(pool, k))
