"""What fills the places of starved anchors where the caller relaxes the windows of ranks and of scores.

In this order: items below the floor, the hardest first; candidates that the policy passed over, the least hard first;
items above the ceilings, the least hard first. The last may be false negatives: the caller asked for them. Ids, groups,
tags and age hold as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from negmine_server.domain import F32, I64, NO_ID, Query
from negmine_server.engine.interface import Engine
from negmine_server.options import RESCORE_FACTOR, MineOptions
from negmine_server.score_window import ScoreWindow
from negmine_server.select.chosen import Chosen
from negmine_server.select.filters import Exclusions, Survivors

# Least items looked at above a ceiling: the least hard of them are wanted, and the scan comes from the top.
ABOVE_MIN = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Relaxed:
    """What the anchors of one Mine may get beyond its windows."""

    engine: Engine
    query: Query  # [B], without a window of scores
    scores: ScoreWindow
    options: MineOptions
    exclusions: Exclusions

    def add(self, chosen: Chosen, survivors: Survivors, anchors: I64) -> None:
        """Fills the rows of anchors [b] up to k, as far as there is anything."""
        exclusions = self.exclusions
        ceilings = np.minimum(exclusions.margin_ceilings, exclusions.max_ceiling).astype(np.float32)
        needed = self.options.k + 1 + np.diff(exclusions.positive_offsets)[anchors]
        if np.isfinite(exclusions.floors).any():
            under = np.nextafter(exclusions.floors, np.float32(-np.inf))
            looked = needed * (RESCORE_FACTOR if self.options.rescore else 1)
            self._append(chosen, anchors, self._between(anchors, under, np.full_like(under, -np.inf), looked))
        self._append(chosen, anchors, survivors.take(anchors), hardest_first=False)
        if np.isfinite(ceilings).any():
            over = np.nextafter(ceilings, np.float32(np.inf))
            above = self._between(anchors, np.full_like(over, np.inf), over, np.maximum(16 * needed, ABOVE_MIN))
            self._append(chosen, anchors, above, hardest_first=False)

    def _append(self, chosen: Chosen, anchors: I64, found: Survivors, *, hardest_first: bool = True) -> None:
        ids, scores, versions = found.ids, found.scores, found.versions
        if not hardest_first:
            places = found.counts[:, None] - 1 - np.arange(ids.shape[1])
            there = places >= 0
            at = (np.arange(len(ids))[:, None], np.maximum(places, 0))
            ids, scores, versions = np.where(there, ids[at], NO_ID), scores[at], versions[at]
        chosen.append(anchors, ids, scores, versions, chosen.short(self.options.k)[anchors])

    def _between(self, anchors: I64, ceilings: F32, floors: F32, looked: I64) -> Survivors:
        """The items that `anchors` [b] may have between two scores, of the first `looked` [b] that the scan brings."""
        options = self.options
        looked = looked.clip(max=min(options.pool_max, options.max_scanned))
        query = self.scores.narrow(self.query, ceilings, floors).take(anchors)
        found = self.engine.search(query, int(looked.max()), rescore=options.rescore)
        found = replace(found, counts=np.minimum(found.counts, looked).astype(np.int32))
        final = self.scores.final(found.scores if found.rescored is None else found.rescored, anchors)
        survivors = Survivors(len(options.own_ids), int(looked.max()))
        bounds = replace(self.exclusions, margin_ceilings=ceilings, max_ceiling=np.float32(np.inf), floors=floors)
        survivors.absorb(found, final, anchors, bounds)
        return survivors.take(anchors)
