"""Which candidates become negatives: the rules of sentence-transformers' `mine_hard_negatives`, in its order.

Read from its source (6.2): positives out, absolute margin, relative margin, max_score, min_score, the first `range_max`
of what is left, without the first `range_min`, of these the top or random ones. The candidates are the nearest
`range_max` + the most positives that a query has; a strict margin can leave a query with fewer than it wants.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from negmine._exceptions import InvalidInput
from negmine.integrations._pairs import Pairs

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
NONE = np.float32(-np.inf)  # the score of a place without a candidate


@dataclass(frozen=True, slots=True)
class Rules:
    """Its parameters of the same names, with its defaults.

    `seed` is ours, of the sampling "random": None = Python's `random` as it stands, which is what
    sentence-transformers uses, so that after the same `random.seed` the same are picked.
    """

    range_min: int = 0
    range_max: int | None = None
    max_score: float | None = None
    min_score: float | None = None
    absolute_margin: float | None = None
    relative_margin: float | None = None
    num_negatives: int = 3
    sampling_strategy: Literal["random", "top"] = "top"
    include_positives: bool = False
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.num_negatives < 1:
            raise InvalidInput(f"num_negatives is {self.num_negatives}; expected at least 1", field="num_negatives")
        if self.range_min < 0:
            raise InvalidInput(f"range_min is {self.range_min}; expected at least 0", field="range_min")
        if self.range_max is not None and self.range_max - self.range_min < self.num_negatives:
            raise InvalidInput(
                f"range_max is {self.range_max} and range_min {self.range_min}; "
                f"expected room for num_negatives {self.num_negatives} between them",
                field="range_max",
            )
        if self.sampling_strategy not in {"random", "top"}:
            raise InvalidInput(
                f"sampling_strategy is {self.sampling_strategy!r}; expected 'random' or 'top'",
                field="sampling_strategy",
            )

    @property
    def has_margin(self) -> bool:
        """Whether a margin against the positive was asked for."""
        return self.absolute_margin is not None or self.relative_margin is not None

    @property
    def reads_scores(self) -> bool:
        """Whether anything depends on a score rather than on the order."""
        return self.has_margin or self.max_score is not None or self.min_score is not None

    def ranks(self, positives_max: int, *, rescored: bool) -> int:
        """`range_max`, or what stands for it: ten times as many where some will be dropped."""
        if self.range_max is not None:
            return self.range_max
        drops = self.has_margin or self.max_score is not None or (rescored and self.min_score is not None)
        return self.range_min + self.num_negatives * (10 if drops else 1) + positives_max


@dataclass(frozen=True, slots=True, eq=False)
class Mined:
    """Negatives of Q queries, n each.

    Attributes:
        pairs: what they were mined for.
        positive_scores: float32 [P], of the pairs.
        ids: int64 [Q, n], rows of the corpus, the most similar first; of no meaning where the score is -inf.
        scores: float32 [Q, n], -inf where there is no negative.
        skipped: candidates dropped by each rule, by its name.
    """

    pairs: Pairs
    positive_scores: F32
    ids: I64
    scores: F32
    skipped: dict[str, int]

    @property
    def found(self) -> NDArray[np.bool_]:
        """bool [Q, n]: where there is a negative."""
        return np.isfinite(self.scores)


def choose(rules: Rules, pairs: Pairs, ids: I64, scores: F32, positive_scores: F32) -> Mined:
    """Negatives from candidates [Q, R] with their scores, -1 and -inf where there are fewer, and the pairs' scores [P].

    R is `rules.ranks` + `pairs.positives_max`.
    """
    kept, skipped = _filtered(rules, pairs, ids, scores, positive_scores)
    order = np.argsort(-kept, axis=1, kind="stable")[:, rules.range_min : ids.shape[1] - pairs.positives_max]
    ids, kept = np.take_along_axis(ids, order, 1), np.take_along_axis(kept, order, 1)
    wanted = rules.num_negatives
    if rules.sampling_strategy == "random":
        generator = random if rules.seed is None else random.Random(rules.seed)  # noqa: S311 — no secret
        eligible = np.maximum((kept > NONE).sum(axis=1), wanted)
        drawn = np.array([generator.sample(range(count), k=wanted) for count in eligible.tolist()])
        drawn.sort(axis=1)  # the most similar first
        return Mined(
            pairs, positive_scores, np.take_along_axis(ids, drawn, 1), np.take_along_axis(kept, drawn, 1), skipped
        )
    return Mined(pairs, positive_scores, ids[:, :wanted], kept[:, :wanted], skipped)


def _filtered(rules: Rules, pairs: Pairs, ids: I64, scores: F32, positive_scores: F32) -> tuple[F32, dict[str, int]]:
    """The scores with -inf in the place of what is dropped, and how many each rule dropped."""
    kept = scores.copy()
    if not rules.include_positives:
        width = len(pairs.corpus)
        cells = np.where(ids < 0, -1, np.arange(len(ids))[:, None] * width + ids)
        kept[np.isin(cells, pairs.query_rows * width + pairs.positive_rows)] = NONE
    lowest = np.minimum.reduceat(positive_scores, pairs.offsets[:-1])[:, None]
    skipped = {}

    def drop(name: str, which: NDArray[np.bool_]) -> None:
        skipped[name] = int((which & (kept > NONE)).sum())
        kept[which] = NONE

    if rules.absolute_margin is not None:
        drop("absolute_margin", kept + rules.absolute_margin > lowest)
    if rules.relative_margin is not None:
        drop("relative_margin", kept > lowest - np.abs(lowest) * rules.relative_margin)
    if rules.max_score is not None:
        drop("max_score", kept > rules.max_score)
    if rules.min_score is not None:
        drop("min_score", kept < rules.min_score)
    return kept, skipped
