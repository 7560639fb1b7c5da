"""semi_hard: farther than the positive, within a margin of it (FaceNet: Schroff et al., 2015).

Distances are those of unit vectors, d² = 2 - 2 s; with d⁺ the positive's, what is taken has d⁺ < d <= d⁺ + margin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.domain import F32
from negmine_server.select.policy import Picks, Policy, Pool, checked, places
from negmine_server.select.protection import at_least, below


@dataclass(frozen=True, slots=True)
class SemiHard(Policy):
    """The nearest of the band, which acts inside the scan: a narrow one does not starve an anchor.

    Raises:
        InvalidInput: margin is not above 0, or not finite.
    """

    margin: float

    name = "semi_hard"
    needs_positive = True
    cosine_only = True

    def __post_init__(self) -> None:
        checked(self.name, "margin", self.margin, 0, above=True)

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's SemiHard."""
        return cls(message.margin)

    def wanted(self, k: int) -> int:
        """k."""
        return k

    def band(self, positive_scores: F32) -> tuple[F32, F32]:
        """As float32 scores, to the last bit; nothing where there is no positive's score."""
        scores = np.clip(positive_scores.astype(np.float64), -1, 1)  # estimates may lie a little outside
        farthest = np.sqrt(2 - 2 * scores) + self.margin
        lowest = np.where(farthest < 2, at_least(1 - farthest**2 / 2), np.float32(-np.inf))
        none = np.isnan(scores)
        return (
            np.where(none, np.float32(-np.inf), below(scores)),
            np.where(none, np.float32(np.inf), lowest),
        )

    def pick(self, pool: Pool, k: int) -> Picks:
        """The first k places: the band has left no others."""
        return Picks(places(pool, k))
