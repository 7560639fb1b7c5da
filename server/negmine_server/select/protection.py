"""False-negative protection by score: margins against the positive become one ceiling per anchor.

Parameter names and meanings are those of sentence-transformers' `mine_hard_negatives`; percent_of_positive is
NV-Retriever's PercPos, made safe for a negative s+ as relative_margin is. s is a candidate's score and s+ the lowest
score among the anchor's positives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32
from negmine_server.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Protection:
    """What is dropped; None = not asked for."""

    absolute_margin: float | None = None  # s + m > s+
    relative_margin: float | None = None  # s > s+ - |s+| m
    percent_of_positive: float | None = None  # s >= s+ - |s+| (1 - p), which is p s+ where s+ >= 0
    max_score: float | None = None  # s > max
    min_score: float | None = None  # s < min

    def check(self) -> None:
        """Raises InvalidInput naming the value that is out of range."""
        for name, low, high in (
            ("absolute_margin", 0.0, np.inf),
            ("relative_margin", 0.0, 1.0),
            ("percent_of_positive", 0.0, 1.0),
            ("max_score", -np.inf, np.inf),
            ("min_score", -np.inf, np.inf),
        ):
            value = getattr(self, name)
            if value is None:
                continue
            field = f"protection.{name}"
            if not low <= value <= high or not np.isfinite(value) or (name == "percent_of_positive" and value == 0):
                raise InvalidInput(f"{field} is {value}; expected a value in [{low:g}, {high:g}]", field=field)
        if self.max_score is not None and self.min_score is not None and self.min_score > self.max_score:
            raise InvalidInput(
                f"protection.min_score is {self.min_score}, above max_score {self.max_score}; nothing can pass",
                field="protection.min_score",
            )

    @property
    def needs_positive(self) -> bool:
        """Whether a margin against the positive was asked for."""
        return (self.absolute_margin, self.relative_margin, self.percent_of_positive) != (None, None, None)

    @property
    def limits(self) -> bool:
        """Whether scores have a ceiling."""
        return self.needs_positive or self.max_score is not None

    def margin_ceilings(self, positive_scores: F32) -> F32:
        """The highest float32 score [B] that no margin drops, +inf where none is asked for; s+ must not be NaN."""
        s = positive_scores.astype(np.float64)
        ceilings = np.full(len(s), np.inf, np.float32)
        if self.absolute_margin is not None:
            ceilings = np.minimum(ceilings, at_most(s - self.absolute_margin))
        if self.relative_margin is not None:
            ceilings = np.minimum(ceilings, at_most(s - np.abs(s) * self.relative_margin))
        if self.percent_of_positive is not None:
            p = self.percent_of_positive
            ceilings = np.minimum(ceilings, below(np.where(s >= 0, s * p, s * (2 - p))))
        return ceilings

    @property
    def max_ceiling(self) -> np.float32:
        """The highest float32 score that max_score does not drop."""
        return np.float32(np.inf) if self.max_score is None else np.float32(at_most(np.float64(self.max_score)))

    @property
    def floor(self) -> np.float32:
        """The lowest float32 score that min_score does not drop."""
        return np.float32(-np.inf) if self.min_score is None else np.float32(-at_most(-np.float64(self.min_score)))


def at_most(x: NDArray[np.float64] | np.float64) -> F32:
    """The largest float32 <= x."""
    near = np.asarray(x, np.float32)
    return np.where(near.astype(np.float64) > x, np.nextafter(near, np.float32(-np.inf)), near)


def below(x: NDArray[np.float64]) -> F32:
    """The largest float32 < x."""
    near = np.asarray(x, np.float32)
    return np.where(near.astype(np.float64) >= x, np.nextafter(near, np.float32(-np.inf)), near)


def at_least(x: NDArray[np.float64]) -> F32:
    """The smallest float32 >= x."""
    return -at_most(-x)


def above(x: NDArray[np.float64]) -> F32:
    """The smallest float32 > x."""
    return -below(-x)
