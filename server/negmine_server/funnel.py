"""The funnel of one Mine: encode → positives' scores → scan rounds → filters → policy → what fills.

A margin against the positive, and the band of a policy, become a window of scores inside the scan, so that a strict one
does not starve an anchor. Anchors left with fewer than the policy wants go on with another round, below the last
candidate they saw, until filled, exhausted or out of budget. Where only some buckets were probed, an anchor for which
they hold too few looks at all of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from negmine.encoder import Encoder

from negmine_server import metrics
from negmine_server.calibrate import Effort, Mode
from negmine_server.canary import Canary, Sample, truth_of
from negmine_server.ceiling import COLUMNS, cut_by_ceiling
from negmine_server.domain import (
    F32,
    I32,
    I64,
    Bool,
    Candidates,
    DropReason,
    Fill,
    Filled,
    Scoring,
)
from negmine_server.encode import Anchors, encode
from negmine_server.engine.interface import Engine
from negmine_server.index.partition import points_of
from negmine_server.options import MineOptions
from negmine_server.picking import Picking
from negmine_server.score_window import ScoreWindow
from negmine_server.select.filters import Survivors

_DROPS = metrics.counter("negmine_dropped_candidates", "Candidates dropped by the false-negative filters.", "reason")
_STARVED = metrics.counter("negmine_starved_anchors", "Anchors that got fewer negatives than asked for.", "reason")
_FILLS = metrics.counter("negmine_filling_negatives", "Negatives that only fill places of starved anchors.", "fill")
for _reason in DropReason:  # there from the start, so that the first drop counts in a rate
    _DROPS.labels(_reason.value)
for _why in Filled:
    if _why is not Filled.FULL:
        _STARVED.labels(_why.value)
for _fill in Fill:
    if _fill is not Fill.NOTHING:
        _FILLS.labels(_fill.value)
_ROUNDS = metrics.histogram("negmine_scan_rounds", "Scan rounds of one Mine.", buckets=(1, 2, 3, 4, 6, 8, 12, 16))


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """What the funnel leaves: negatives without the collection's state around them."""

    ids: I64  # [B, k], NO_ID beyond counts
    scores: F32  # [B, k], NaN beyond counts
    versions: I64  # [B, k]
    weights: F32 | None  # [B, k], 0 beyond counts, 1 for what the policy did not pick
    fills: I32 | None  # [B], how many of the last ones only fill; where that was asked for
    filled: tuple[Filled, ...]
    positive_scores: F32  # [B], NaN = none
    missing_positives: I64  # [m, 2], (anchor, id), by anchor
    drops: I64  # [B, reasons]
    scanned: I64  # [B], rows scored
    lengths: F32  # [B] the anchors', 1 for cosine


def mine(
    anchors: Anchors, options: MineOptions, encoder: Encoder, engine: Engine, canary: Canary, stages: metrics.Stages
) -> Picked:
    """Mines B anchors; see the module."""
    return _Mine(anchors, options, encoder, engine, canary, stages).run()


class _Mine:
    """One request on its way through the funnel."""

    def __init__(
        self,
        anchors: Anchors,
        options: MineOptions,
        encoder: Encoder,
        engine: Engine,
        canary: Canary,
        stages: metrics.Stages,
    ) -> None:
        self._options = options
        self._encoder = encoder
        self._engine = engine
        self._canary = canary
        self._mode = Mode(options.scoring, options.rescore, options.protection.limits)
        self._stages = stages
        with stages.time("encode"):
            self._encoded = encode(anchors, encoder, options.scoring, with_vectors=options.rescore)
        self._query = self._open = replace(
            self._encoded.query,
            exclude_groups=options.groups,
            require_tags=options.require_tags,
            forbid_tags=options.forbid_tags,
            min_steps=options.min_steps,
        )
        self._scores = ScoreWindow(options.scoring, options.rescore, encoder, self._encoded.offsets)
        self._survivors = Survivors(anchors.rows, options.wanted)
        self._filled = np.full(anchors.rows, Filled.FULL, object)
        self._drops: I64 = np.zeros((anchors.rows, len(DropReason)), np.int64)  # but for the filters'
        self._scanned: I64 = np.zeros(anchors.rows, np.int64)

    def run(self) -> Picked:
        """Encode (done), score positives, scan in rounds, pick."""
        options = self._options
        with self._stages.time("positives"):
            positive_scores, missing = self._score_positives()
        doomed = np.isnan(positive_scores) & options.needs_positive
        self._filled[doomed] = Filled.NO_POSITIVE_SCORE
        self._exclusions = exclusions = options.exclusions(positive_scores)
        self._ceilings = np.minimum(exclusions.margin_ceilings, exclusions.max_ceiling).astype(np.float32)
        self._query = self._scores.narrow(self._open, self._ceilings, exclusions.floors)
        self._scan(np.flatnonzero(~doomed))
        with self._stages.time("select"):
            return self._pick(positive_scores, missing)

    def _score_positives(self) -> tuple[F32, I64]:
        """s+ [B] (given, or the lowest of the positives that are here; NaN = none), and the positives that are not."""
        options = self._options
        if options.positive_ids.size == 0:
            return options.positive_scores, np.empty((0, 2), np.int64)
        rows = self._query.rows
        anchors = np.repeat(np.arange(rows), np.diff(options.positive_offsets))
        scores, found = self._scores.score(self._engine, self._query, anchors, options.positive_ids)
        lowest = np.full(rows, np.inf, np.float32)
        np.minimum.at(lowest, anchors[found], scores[found])
        lowest[np.isinf(lowest)] = np.nan
        lowest = np.where(np.isnan(options.positive_scores), lowest, options.positive_scores)
        return lowest, np.stack([anchors, options.positive_ids], axis=1)[~found]

    def _scan(self, anchors: I64) -> None:
        """Scans with the effort that the recall target asks for, and everything for anchors which that leaves short."""
        whole, partition = self._query, self._engine.partition
        effort, pools = self._effort()
        if partition is not None and effort.probes is not None and effort.probes < len(partition):
            probes = partition.nearest(points_of(whole), effort.probes)
            self._query = replace(whole, probes=probes, new_buckets=partition.next_number)
        short = self._rounds(anchors, pools)
        if short.size:
            self._survivors.forget(short)
            self._drops[short] = 0
            self._query = whole
            self._rounds(short, pools)

    def _effort(self) -> tuple[Effort, I64]:
        """What the recall target asks for, and the pools [B] of the first round."""
        options, pools = self._options, self._options.pools
        if options.recall_target >= 1 or options.scoring is Scoring.FLOAT:
            return Effort(None, None), pools
        effort = self._canary.calibration.effort(self._mode, options.recall_target, options.wanted, options.usual_pool)
        return effort, pools if effort.pool is None else options.widened(effort.pool)

    def _rounds(self, anchors: I64, pools: I64) -> I64:
        """Scan rounds over the anchors that still want more; returns those that looked at too few buckets to know."""
        options, survivors, exclusions = self._options, self._survivors, self._exclusions
        wanted, rounds = options.wanted, 0
        looked = np.zeros(self._query.rows, np.int64)
        unsure: list[I64] = []
        while anchors.size:
            pool = pools[anchors]
            query = self._query if anchors.size == self._query.rows else self._query.take(anchors)
            found = self._engine.search(query, int(pool.max()), rescore=options.rescore)
            found = replace(found, counts=np.minimum(found.counts, pool).astype(np.int32))
            rounds += 1
            looked[anchors] += pool
            self._stages.add("scan", found.scan_s)
            if options.rescore:
                self._stages.add("rescore", found.rescore_s)
            if rounds == 1:
                self._scanned[anchors] += found.scanned
                self._offer(anchors, pool)
                if found.above.any():
                    cut = cut_by_ceiling(self._engine, self._query, options, exclusions, anchors, found.above)
                    self._drops += cut
            with self._stages.time("filter"):
                scores = found.rescored if found.rescored is not None else found.scores
                survivors.absorb(found, self._scores.final(scores, anchors), anchors, exclusions)
            short = survivors.counts[anchors] < wanted
            ended = found.counts < pool
            if self._query.probes is not None:
                unsure.append(anchors[short & ended])
            # What a policy wants may be more than k: only an anchor with fewer than k is starved.
            self._filled[anchors[short & ended]] = Filled.EXHAUSTED
            going = short & ~ended
            spent = looked[anchors] >= options.max_scanned
            self._filled[anchors[going & spent]] = Filled.BUDGET
            going &= ~spent
            if going.any():
                self._go_on_below(found, anchors, going)
            anchors = anchors[going]
            pools = np.minimum(np.minimum(pools * 2, options.pool_max), options.max_scanned - looked)
        _ROUNDS.observe(rounds)
        return np.concatenate(unsure) if unsure else np.empty(0, np.int64)

    def _offer(self, anchors: I64, pool: I64) -> None:
        """Gives the canary some anchors of the first round, to measure the recall that this effort has."""
        options, probes = self._options, self._query.probes
        measurable = options.rescore or self._engine.partition is not None
        if not (
            measurable and options.recall_target < 1 and options.scoring is not Scoring.FLOAT and self._canary.hungry
        ):
            return
        chosen = self._canary.choose(anchors.size)
        query = replace(self._query.take(anchors[chosen]), probes=None)
        ceilings, floors = self._ceilings[anchors[chosen]], self._exclusions.floors[anchors[chosen]]
        truth = truth_of(query, ceilings, floors) if options.rescore else query
        sample = Sample(
            query=query,
            truth=truth,
            own_ids=options.own_ids[anchors[chosen]],
            mode=self._mode,
            answer=options.wanted + 1 if options.rescore else int(pool.max()),
            probes=None if probes is None else probes.shape[1],
            pool=int(pool.min()),
            target=options.recall_target,
        )
        self._canary.offer(sample)

    def _go_on_below(self, found: Candidates, anchors: I64, going: Bool) -> None:
        """Moves the cursor of the anchors that go on to the last candidate they saw."""
        after_scores, after_ids = self._query.after_scores.copy(), self._query.after_ids.copy()
        last = found.counts[going] - 1
        after_scores[anchors[going]] = found.scores[going, last]
        after_ids[anchors[going]] = found.ids[going, last]
        self._query = replace(self._query, after_scores=after_scores, after_ids=after_ids)

    def _pick(self, positive_scores: F32, missing: I64) -> Picked:
        options, survivors = self._options, self._survivors
        picking = Picking(
            self._engine,
            self._encoder,
            self._open,
            self._scores,
            options,
            self._exclusions,
            survivors,
            positive_scores,
            self._encoded.keys,
        )
        chosen, passed_over, fills = picking.run(self._filled)
        drops = self._drops + survivors.drops
        drops[:, COLUMNS[DropReason.WINDOW]] += passed_over
        self._observe(drops)
        if options.fill is not Fill.NOTHING:
            _FILLS.labels(options.fill.value).inc(int(fills.sum()))
        return Picked(
            ids=chosen.ids,
            scores=chosen.scores,
            versions=chosen.versions,
            weights=chosen.weights,
            fills=None if options.fill is Fill.NOTHING else fills,
            filled=tuple(self._filled),
            positive_scores=positive_scores,
            missing_positives=missing,
            drops=drops,
            scanned=self._scanned,
            lengths=self._query.scales if self._query.vectors is None else np.linalg.norm(self._query.vectors, axis=1),
        )

    def _observe(self, drops: I64) -> None:
        for reason, count in zip(DropReason, drops.sum(axis=0).tolist(), strict=True):
            if count:
                _DROPS.labels(reason.value).inc(count)
        for why, count in Counter(self._filled).items():
            if why is not Filled.FULL:
                _STARVED.labels(why.value).inc(count)
