"""From what the filters left to the answer: the policy's picks, random items where it wants some, and what fills.

A policy gets some anchors at a time, with what it wants to know of their candidates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from negmine.encoder import Encoder
from numpy.typing import NDArray

from negmine_server.domain import F32, I32, I64, NO_ID, U64, Bool, Fill, Filled, Query
from negmine_server.engine.interface import Engine
from negmine_server.options import MineOptions
from negmine_server.random_items import RandomItems
from negmine_server.relaxed import Relaxed
from negmine_server.score_window import ScoreWindow
from negmine_server.select.chosen import Chosen
from negmine_server.select.filters import Exclusions, Survivors
from negmine_server.select.likeness import Likeness, of_codes, of_vectors
from negmine_server.select.policy import Picks, Pool
from negmine_server.vectors import restored

_BLOCK_BYTES = 64 << 20  # of candidates' vectors, or of what a policy calculates, at a time
_NUMBERS = 32  # that a policy calculates per candidate, 4 bytes each


@dataclass(frozen=True, slots=True, eq=False)
class Picking:
    """The last stage of one Mine."""

    engine: Engine
    encoder: Encoder
    query: Query  # [B], without a window of scores
    scores: ScoreWindow
    options: MineOptions
    exclusions: Exclusions
    survivors: Survivors
    positive_scores: F32  # [B]
    keys: U64  # [B]

    def run(self, filled: NDArray[np.object_]) -> tuple[Chosen, I64, I32]:
        """The answer, the candidates [B] that the policy passed over, and how many [B] of the answer only fill.

        Sets in `filled` [B] which anchors got k, fills apart.
        """
        options = self.options
        random = options.policy.random_share(options.k)
        picks, passed_over = self._picks(options.k - random)
        chosen = Chosen(self.survivors, picks, options.policy.width(options.k))
        served = np.flatnonzero(filled != Filled.NO_POSITIVE_SCORE)
        items = RandomItems(self.engine, self.query, self.scores, options, self.exclusions, self.keys)
        if random:
            filled[items.add(chosen, served, np.full(served.size, random))] = Filled.BUDGET
        full = chosen.counts >= options.k
        filled[full] = Filled.FULL
        filled[~full & (filled == Filled.FULL)] = Filled.EXHAUSTED  # the policy wanted none of the rest
        before = chosen.counts.copy()
        short = served[~full[served]]
        if options.fill is Fill.RANDOM:
            items.add(chosen, short, chosen.short(options.k)[short])
        elif options.fill is Fill.RELAXED and short.size:
            relaxed = Relaxed(self.engine, self.query, self.scores, options, self.exclusions)
            relaxed.add(chosen, self.survivors, short)
        return chosen, passed_over, chosen.counts - before

    def _picks(self, k: int) -> tuple[Picks, I64]:
        policy = self.options.policy
        parts = [(policy.pick(pool, k), policy.passed_over(pool)) for pool in self._pools()]
        weights = [part.weights for part, _ in parts if part.weights is not None]
        return (
            Picks(np.concatenate([part.places for part, _ in parts]), np.concatenate(weights) if weights else None),
            np.concatenate([over for _, over in parts]),
        )

    def _pools(self) -> Iterator[Pool]:
        found = self.survivors
        anchors, width = found.ids.shape
        compared = max(self.encoder.dimension, self.encoder.bits) if self.options.policy.compares else 0
        step = max(1, _BLOCK_BYTES // (4 * width * max(compared, _NUMBERS)))
        for start in range(0, max(anchors, 1), step):
            part = slice(start, start + step)
            likeness, uncertainties = self._known(found.ids[part], found.counts[part])
            yield Pool(
                ids=found.ids[part],
                scores=found.scores[part],
                counts=found.counts[part],
                positive_scores=self.positive_scores[part],
                anchor_keys=self.keys[part],
                seeds=self.options.seeds[part],
                dimension=self.encoder.dimension,
                likeness=likeness,
                uncertainties=uncertainties,
            )

    def _known(self, ids: I64, counts: I32) -> tuple[Likeness | None, F32 | None]:
        """What is stored of candidates [b, P]."""
        names: set[str] = set()
        if self.options.policy.compares:
            names |= {"vectors", "scales"} if self.engine.has_vectors else {"codes", "norms"}
        if self.options.policy.reads_uncertainties:
            names.add("uncertainties")
        if not names:
            return None, None
        distinct, rows = np.unique(ids, return_inverse=True)
        rows = rows.reshape(ids.shape)
        found, columns = self.engine.fetch(distinct, frozenset(names))
        found &= distinct != NO_ID
        uncertainties = None
        if self.options.policy.reads_uncertainties:
            values = np.full(distinct.size, np.nan, np.float32)
            if "uncertainties" in columns:
                values[found] = columns["uncertainties"]
            uncertainties = values[rows]
        if not self.options.policy.compares:
            return None, uncertainties
        return self._likeness(rows, found, columns), uncertainties

    def _likeness(self, rows: I64, found: Bool, columns: dict[str, NDArray[Any]]) -> Likeness:
        """Items that have gone since are zero vectors."""
        if self.engine.has_vectors:
            vectors = np.zeros((found.size, self.encoder.dimension), np.float32)
            if found.any():
                vectors[found] = restored(columns["vectors"], columns.get("scales"))
            return of_vectors(rows, vectors)
        codes = np.zeros((found.size, self.encoder.bits // 64), np.uint64)
        lengths = np.zeros(found.size, np.float32)
        if found.any():
            codes[found], lengths[found] = columns["codes"], columns.get("norms", np.float32(1))
        return of_codes(rows, codes, lengths)
