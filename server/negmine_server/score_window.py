"""A window of final scores as one of the scan's: what an estimate may be off is allowed for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from negmine.encoder import Encoder

from negmine_server.domain import F32, I64, Bool, Query, Scoring
from negmine_server.encode import standard_errors
from negmine_server.engine.interface import Engine

# Standard errors between a ceiling on exact scores and the one on estimates. Wider wastes the pool on what the margin
# drops, narrower cuts what it would keep: on protected WordNet 2 found more than 3 at every pool, in fewer rounds.
SLACK = 2.0
# The same below a floor: the scan ends there, so that hardly an eligible item may lie under it.
FLOOR_SLACK = 4.0

_COSINES = np.linspace(-1, 1, 1025, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class ScoreWindow:
    """How the scan's scores of B anchors relate to the final ones."""

    scoring: Scoring
    rescored: bool
    encoder: Encoder
    offsets: F32  # [B], added to estimates

    @property
    def exact(self) -> bool:
        """Whether final scores come from stored vectors."""
        return self.rescored or self.scoring is Scoring.FLOAT

    def final(self, scores: F32, anchors: I64) -> F32:
        """Final scores [b] or [b, R] of what the scan, or rescoring, gave for `anchors` [b]."""
        if self.exact:
            return scores
        offsets = self.offsets[anchors]
        return scores + (offsets if scores.ndim == 1 else offsets[:, None])

    def narrow(self, query: Query, ceilings: F32, floors: F32) -> Query:
        """The query with a scan from `ceilings` [B] down to `floors` [B], both inclusive, as far as the scan can tell.

        Where vectors correct the estimates, the ceiling is SLACK standard errors higher and the floor FLOOR_SLACK
        lower: the filters decide by the exact score.
        """
        if (floors == -np.inf).all() and np.isinf(ceilings).all():
            return query
        if self.scoring is Scoring.FLOAT:
            return replace(query, after_scores=ceilings, floors=floors)
        if self.rescored:
            if not self.encoder.cosine:
                return query
            highest = self._reach(ceilings, SLACK) - self.offsets
            lowest = -self._reach(-floors, FLOOR_SLACK) - self.offsets
            return replace(query, after_scores=highest.astype(np.float32), floors=lowest.astype(np.float32))
        # One float32 step of room for the offset's rounding; the filters have the last word.
        shifted = np.where(self.offsets == 0, ceilings, np.nextafter(ceilings - self.offsets, np.float32(np.inf)))
        lowest = floors - self.offsets
        lowest = np.where(self.offsets == 0, lowest, np.nextafter(lowest, np.float32(-np.inf)))
        return replace(query, after_scores=shifted.astype(np.float32), floors=lowest.astype(np.float32))

    def score(self, engine: Engine, query: Query, anchors: I64, ids: I64) -> tuple[F32, Bool]:
        """Final scores of (anchor, id) pairs [m], and whether each id is there."""
        scores, found = engine.score(query, anchors, ids, rescore=self.rescored)
        return self.final(scores, anchors), found

    def _reach(self, bounds: F32, slack: float) -> F32:
        """The highest estimate [B] within `slack` standard errors of any score up to a bound [B].

        Not of the bound itself: near 1 estimates spread the less the higher the score. From 1 on there is no bound.
        """
        reached = np.maximum.accumulate(_COSINES + slack * self._standard_errors(_COSINES))
        before = np.searchsorted(_COSINES, bounds, side="right") - 1
        highest = np.maximum(
            bounds + slack * self._standard_errors(bounds), np.where(before < 0, np.float32(-np.inf), reached[before])
        )
        return np.where(bounds >= 1, np.float32(np.inf), highest)

    def _standard_errors(self, scores: F32) -> F32:
        """Of estimates [B] around scores of unit vectors."""
        cosines = np.clip(scores, -1, 1)
        return standard_errors(self.scoring, cosines, np.ones_like(cosines), self.encoder.bits, self.encoder.dimension)
