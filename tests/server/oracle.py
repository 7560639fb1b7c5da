"""What a Mine must answer, one anchor at a time in plain Python, over the scores of the reference scan."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from negmine.encoder import Encoder, lengths_of
from negmine_server.domain import Batch, Filled, Metric, Scoring, VectorStore
from negmine_server.encode import Anchors, encode, standard_errors
from negmine_server.index.rows import Rows
from negmine_server.scan import reference
from negmine_server.vectors import stored

MASK = 2**64 - 1
POOL_MAX = 16_384


@dataclass
class Item:
    group: int
    tags: int
    step: int


@dataclass
class Ask:
    """One anchor's part of a request; None = not asked for."""

    k: int = 5
    own: int = -1
    positives: list[int] = field(default_factory=list)
    group: int = -1
    require: int = 0
    forbid: int = 0
    min_step: int = 0
    positive_score: float | None = None
    protection: dict[str, float] = field(default_factory=dict)
    window: tuple[int, int, bool] | None = None  # range_min, range_max, random
    pool: int = 0
    max_scanned: int = 65_536
    seed: int = 0


@dataclass
class Answer:
    ids: list[int]
    scores: list[float]
    filled: Filled
    positive: float
    missing: list[int]
    drops: Counter[str]


def mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


class Oracle:
    """A flat copy of a collection."""

    def __init__(self, encoder: Encoder, metric: Metric, store: VectorStore) -> None:
        self.encoder, self.metric, self.store = encoder, metric, store
        self.rows = Rows(encoder.words, store, encoder.dimension)
        self.items: dict[int, Item] = {}

    def add(self, ids: Any, embeddings: Any, groups: Any, tags: Any, step: int) -> None:
        codes = self.encoder.encode(embeddings)
        kept, scales = stored(self.encoder.prepare(embeddings, lengths_of(embeddings)), self.store)
        norms = codes.norms if self.metric is Metric.INNER_PRODUCT else None
        versions = np.full(len(ids), step, np.int64)
        batch = Batch(ids, versions, codes.words, codes.corrections, norms, vectors=kept, scales=scales)
        self.rows.apply(batch)
        for place, item in enumerate(ids.tolist()):
            self.items[item] = Item(int(groups[place]), int(tags[place]), step)

    def ranked(self, anchor: Any, scoring: Scoring, rescore: bool) -> tuple[list[tuple[int, float, float]], float, int]:
        """All items as (id, scan score, final score) in scan order; the score's offset; the anchor's key."""
        encoded = encode(Anchors(anchor[None, :], None, None), self.encoder, scoring, with_vectors=True)
        found = reference.top_r(
            self.rows.view, encoded.query, len(self.items), self.encoder.bits, self.metric, rescored=rescore
        )
        exact = rescore or scoring is Scoring.FLOAT
        offset = np.float32(0) if exact else encoded.offsets[0]
        final = found.rescored[0] if found.rescored is not None else found.scores[0] + offset
        key = 0
        for word in encoded.query.codes[0].tolist():
            key = mix(key ^ word)
        scored = zip(found.ids[0].tolist(), found.scores[0].tolist(), final.tolist(), strict=True)
        return list(scored), float(encoded.offsets[0]), key

    def answer(self, anchor: Any, ask: Ask, scoring: Scoring, *, rescore: bool) -> Answer:
        ranked, offset, key = self.ranked(anchor, scoring, rescore)
        by_id = {item: final for item, _, final in ranked}
        missing = [item for item in sorted(ask.positives) if item not in by_id]
        there = [by_id[item] for item in ask.positives if item in by_id]
        positive = ask.positive_score
        if positive is None:
            positive = min(there) if there else float("nan")
        needs = {"absolute_margin", "relative_margin", "percent_of_positive"} & ask.protection.keys()
        if needs and np.isnan(positive):
            return Answer([], [], Filled.NO_POSITIVE_SCORE, positive, missing, Counter())
        drops: Counter[str] = Counter()
        admitted = []
        limit = self._scan_limit(ask, positive, scoring, rescore, offset)
        floor = ask.protection.get("min_score", -np.inf)
        least = self._scan_least(floor, scoring, offset)
        for item, score, final in ranked:
            if not self._eligible(item, ask) or (score < least if rescore else final < floor):
                continue
            reason = self._reason(item, final, ask, positive)
            beyond = score > limit if rescore else self._above(final, ask, positive)
            if beyond:
                kept = ("own_id", "positive")
                drops[reason if reason in kept else self._lower(ask, positive)] += 1
            else:
                admitted.append((item, final, reason))
        return self._rounds(admitted, ask, positive, missing, drops, rescore, key)

    def _rounds(self, admitted: Any, ask: Ask, positive: float, missing: list[int], drops: Counter[str],
                rescore: bool, key: int) -> Answer:  # fmt: skip
        low, high, random = ask.window or (0, ask.k, False)
        wanted = high if random else min(high, low + ask.k)
        pool = ask.pool or (16 if rescore else 1) * wanted + len(ask.positives) + 1
        pool = min(pool, POOL_MAX, ask.max_scanned)
        survivors: list[tuple[float, int]] = []
        at = looked = 0
        filled = Filled.FULL
        while True:
            seen = admitted[at : at + pool]
            at, looked = at + pool, looked + pool
            for item, final, reason in seen:
                if reason:
                    drops[reason] += 1
                else:
                    survivors.append((-final, item))
            if len(survivors) >= wanted:
                break
            if len(seen) < pool:
                filled = Filled.EXHAUSTED
                break
            if looked >= ask.max_scanned:
                filled = Filled.BUDGET
                break
            pool = min(2 * pool, POOL_MAX, ask.max_scanned - looked)
        best = sorted(survivors)[:wanted]
        drops["window"] += min(low, len(best)) if ask.window else 0
        inside = best[low:high]
        if random:
            seeded = mix(key ^ mix(ask.seed))
            chosen = sorted(inside, key=lambda pair: mix(seeded ^ mix(pair[1])))[: ask.k]
            inside = sorted(chosen)
        picked = inside[: ask.k]
        if len(picked) == ask.k:
            filled = Filled.FULL
        drops = Counter({reason: count for reason, count in drops.items() if count})
        return Answer([i for _, i in picked], [-s for s, _ in picked], filled, positive, missing, drops)

    def _eligible(self, item: int, ask: Ask) -> bool:
        held = self.items[item]
        own_group = ask.group != -1 and held.group == ask.group
        tagged = held.tags & ask.require == ask.require and not held.tags & ask.forbid
        return not own_group and tagged and held.step >= ask.min_step

    def _reason(self, item: int, score: float, ask: Ask, positive: float) -> str:
        """The first reason to drop it, in the documented order; empty = none."""
        if item == ask.own:
            return "own_id"
        if item in ask.positives:
            return "positive"
        asked = ask.protection
        margin = (
            ("absolute_margin" in asked and score + asked["absolute_margin"] > positive)
            or ("relative_margin" in asked and score > positive - abs(positive) * asked["relative_margin"])
            or ("percent_of_positive" in asked and score >= self._share(asked["percent_of_positive"], positive))
        )
        if margin:
            return "margin"
        if score > asked.get("max_score", np.inf):
            return "max_score"
        return "min_score" if score < asked.get("min_score", -np.inf) else ""

    def _above(self, score: float, ask: Ask, positive: float) -> bool:
        return self._reason(-5, score, ask, positive) in ("margin", "max_score")

    def _ceilings(self, ask: Ask, positive: float) -> tuple[float, float]:
        asked, ceilings = ask.protection, [np.inf]
        if "absolute_margin" in asked:
            ceilings.append(positive - asked["absolute_margin"])
        if "relative_margin" in asked:
            ceilings.append(positive - abs(positive) * asked["relative_margin"])
        if "percent_of_positive" in asked:
            ceilings.append(self._share(asked["percent_of_positive"], positive))
        return min(ceilings), asked.get("max_score", np.inf)

    @staticmethod
    def _share(percent: float, positive: float) -> float:
        return positive * percent if positive >= 0 else positive * (2 - percent)

    def _lower(self, ask: Ask, positive: float) -> str:
        margin, most = self._ceilings(ask, positive)
        return "margin" if margin <= most else "max_score"

    def _scan_limit(self, ask: Ask, positive: float, scoring: Scoring, rescore: bool, offset: float) -> float:
        """Highest scan score that is rescored: two standard errors above what may pass."""
        ceiling = min(self._ceilings(ask, positive))
        if not rescore or not np.isfinite(ceiling) or self.metric is Metric.INNER_PRODUCT:
            return float(np.inf)
        return float(ceiling + 2 * self._error(ceiling, scoring) - offset)

    def _scan_least(self, floor: float, scoring: Scoring, offset: float) -> float:
        """Lowest scan score that is rescored: four standard errors below the floor."""
        if not np.isfinite(floor) or self.metric is Metric.INNER_PRODUCT:
            return float(-np.inf)
        return float(floor - 4 * self._error(floor, scoring) - offset)

    def _error(self, score: float, scoring: Scoring) -> float:
        likely, ones = np.clip(np.float32([score]), -1, 1), np.ones(1, np.float32)
        return float(standard_errors(scoring, likely, ones, self.encoder.bits, self.encoder.dimension)[0])
