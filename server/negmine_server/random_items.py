"""Random items of the collection for anchors: whatever protects against false negatives holds for them too.

Ids, groups, tags, age, margins and max_score do; min_score and the policy, which say how hard a negative should be, do
not. Anchors of one request draw from the same random items of the collection, each in an order of its own; every
choice is keyed by (seed, anchor, item id).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negmine_server.domain import F32, I64, NO_GROUP, NO_ID, STEP_MAX, U64, Bool, Query
from negmine_server.engine.interface import Engine
from negmine_server.options import MineOptions
from negmine_server.score_window import ScoreWindow
from negmine_server.select.chosen import Chosen
from negmine_server.select.filters import Exclusions
from negmine_server.select.policy import keys_of

DRAWN = 512  # items of the first draw; later ones bring as many as were drawn before
_CELLS = 1 << 22  # pairs of an anchor and a drawn item looked at in one go
_COLUMNS = frozenset({"versions", "groups", "tags"})


@dataclass(frozen=True, slots=True, eq=False)
class RandomItems:
    """What the anchors of one Mine may get at random."""

    engine: Engine
    query: Query  # [B]
    scores: ScoreWindow
    options: MineOptions
    exclusions: Exclusions
    keys: U64  # [B], of the anchors

    def add(self, chosen: Chosen, anchors: I64, wanted: I64) -> I64:
        """Appends random items to anchors [b], `wanted` [b] each, or fewer: max_scanned items are drawn at most.

        Returns the anchors that would have got more of more draws.
        """
        seeds = self.options.seeds[anchors]
        parts = [seeds == seed for seed in np.unique(seeds)]
        spent = [self._add(chosen, anchors[part], wanted[part], int(seeds[part][0])) for part in parts]
        return np.concatenate([anchors[:0], *spent])

    def _add(self, chosen: Chosen, anchors: I64, wanted: I64, seed: int) -> I64:
        low = looked = 0
        until = chosen.counts.astype(np.int64)
        until[anchors] += wanted
        while True:
            anchors = anchors[chosen.counts[anchors] < until[anchors]]
            n = min(max(DRAWN, looked), self.options.max_scanned - looked)
            if anchors.size == 0 or n <= 0:
                return anchors
            ids, keys = self.engine.draw(seed, low, n)
            found, columns = self.engine.fetch(ids, _COLUMNS)
            if found.any():
                step = max(1, _CELLS // n)
                for start in range(0, anchors.size, step):
                    self._offer(chosen, anchors[start : start + step], ids[found], columns, until)
            if ids.size < n or int(keys[-1]) == 2**64 - 1:
                return anchors[:0]
            low, looked = int(keys[-1]) + 1, looked + n

    def _offer(self, chosen: Chosen, anchors: I64, ids: I64, columns: dict[str, I64], until: I64) -> None:
        """Gives anchors what they may have of drawn items [n], in an order of their own."""
        allowed = self._allowed(anchors, ids, columns)
        some = allowed.any(axis=1)
        anchors, allowed = anchors[some], allowed[some]
        keys = keys_of(self.keys[anchors], self.options.seeds[anchors], np.broadcast_to(ids, allowed.shape))
        order = np.argsort(np.where(allowed, keys >> np.uint64(1), np.uint64(2**64 - 1)), axis=1, kind="stable")
        counts = allowed.sum(axis=1)
        start, step = 0, 2 * int((until - chosen.counts)[anchors].max(initial=0))
        while start < counts.max(initial=0):
            part = order[:, start : start + step]
            inside = np.arange(start, start + part.shape[1]) < counts[:, None]
            inside &= (chosen.counts[anchors] < until[anchors])[:, None]
            picked, scores = self._scored(anchors, ids[part], inside)
            chosen.append(anchors, picked, scores, columns["versions"][part], (until - chosen.counts)[anchors])
            start, step = start + step, 4 * step

    def _scored(self, anchors: I64, ids: I64, inside: Bool) -> tuple[I64, F32]:
        """Ids and scores [b, m] of what is inside and not above a ceiling; NO_ID elsewhere."""
        rows, columns = np.nonzero(inside)
        owners = anchors[rows]
        values, here = self.scores.score(self.engine, self.query, owners, ids[rows, columns])
        ceilings = np.minimum(self.exclusions.margin_ceilings[owners], self.exclusions.max_ceiling)
        passed = here & (values <= ceilings)
        picked, scores = np.full(ids.shape, NO_ID, np.int64), np.full(ids.shape, np.nan, np.float32)
        picked[rows[passed], columns[passed]] = ids[rows[passed], columns[passed]]
        scores[rows, columns] = values
        return picked, scores

    def _allowed(self, anchors: I64, ids: I64, columns: dict[str, I64]) -> Bool:
        """Which of ids [n] anchors [b] may have, but for their scores: [b, n]."""
        query = self.query
        groups = columns.get("groups", np.full(ids.size, NO_GROUP))
        tags = np.asarray(columns.get("tags", np.zeros(ids.size, np.uint64))).astype(np.uint64)
        steps = columns["versions"] & STEP_MAX
        require, forbid = query.require_tags[anchors, None], query.forbid_tags[anchors, None]
        allowed = (groups != query.exclude_groups[anchors, None]) | (groups == NO_GROUP)
        allowed &= ((tags & require) == require) & ((tags & forbid) == 0)
        allowed &= steps >= query.min_steps[anchors, None]
        allowed &= ids != self.exclusions.own_ids[anchors, None]
        offsets = self.exclusions.positive_offsets
        counts = np.diff(offsets)[anchors]
        if counts.any():
            owners = np.repeat(np.arange(anchors.size), counts)
            firsts = np.repeat(offsets[anchors] - np.cumsum(counts) + counts, counts)
            positives = self.exclusions.positive_ids[firsts + np.arange(owners.size)]
            order = np.argsort(ids)
            at = order[np.minimum(np.searchsorted(ids, positives, sorter=order), ids.size - 1)]
            hit = ids[at] == positives
            allowed[owners[hit], at[hit]] = False
        result: Bool = allowed
        return result
