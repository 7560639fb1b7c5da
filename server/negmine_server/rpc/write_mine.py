"""Negatives → a Mine reply."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from negmine.v1 import mining_pb2 as pb

from negmine_server.domain import NO_ID, STEP_BITS, STEP_MAX, DropReason, Filled, Negatives
from negmine_server.rpc.read_mine import MineCall
from negmine_server.rpc.states import write_version, write_watermark
from negmine_server.rpc.tensors import write

_OUTCOMES = {
    Filled.FULL: pb.OUTCOME_FULL,
    Filled.EXHAUSTED: pb.OUTCOME_EXHAUSTED,
    Filled.BUDGET: pb.OUTCOME_BUDGET,
    Filled.NO_POSITIVE_SCORE: pb.OUTCOME_NO_POSITIVE_SCORE,
}
_FULL = _OUTCOMES[Filled.FULL]  # nearly all of them: an enum's hash is slow
_BY_REASON = {
    DropReason.OWN_ID: pb.DROP_REASON_OWN_ID,
    DropReason.POSITIVE: pb.DROP_REASON_POSITIVE,
    DropReason.MARGIN: pb.DROP_REASON_MARGIN,
    DropReason.MAX_SCORE: pb.DROP_REASON_MAX_SCORE,
    DropReason.MIN_SCORE: pb.DROP_REASON_MIN_SCORE,
    DropReason.WINDOW: pb.DROP_REASON_WINDOW,
}
_REASONS = tuple(_BY_REASON[reason] for reason in DropReason)  # the columns of drops


def write_mine(
    negatives: Negatives, call: MineCall, collection: str, timings_ms: Mapping[str, float]
) -> pb.MineResponse:
    """The reply to one call."""
    options = call.options
    drops = zip(_REASONS, negatives.drops.sum(axis=0).tolist(), strict=True)
    there = negatives.ids != NO_ID
    response = pb.MineResponse(
        ids=write(negatives.ids),
        scores=write(negatives.scores),
        counts=write(negatives.counts),
        exact_scores=negatives.exact,
        outcomes=[_FULL if filled is Filled.FULL else _OUTCOMES[filled] for filled in negatives.filled],
        starved_anchors=len(negatives.filled) - negatives.filled.count(Filled.FULL),
        drops=[pb.DropCount(reason=reason, count=count) for reason, count in drops if count],
        missing_positives=[
            pb.MissingPositive(anchor=anchor, id=item) for anchor, item in negatives.missing_positives.tolist()
        ],
        timings=[pb.Timing(stage=stage, duration_ms=ms) for stage, ms in timings_ms.items()],
        watermark=write_watermark(negatives.watermark),
        newest=write_version(negatives.newest),
        rows_scanned=int(negatives.scanned.max(initial=0)),
        collection=collection,
        ungrouped_negatives=int(negatives.ungrouped.sum()),
    )
    if not negatives.exact:
        response.standard_errors.CopyFrom(write(negatives.standard_errors))
    if options.positive_ids.size or options.needs_positive:
        response.positive_scores.CopyFrom(write(negatives.positive_scores))
    if call.with_versions:
        response.steps.CopyFrom(write(np.where(there, negatives.versions & STEP_MAX, -1)))
        response.generations.CopyFrom(write(np.where(there, negatives.versions >> STEP_BITS, -1)))
    if negatives.weights is not None and call.with_weights:
        response.weights.CopyFrom(write(negatives.weights))
    if negatives.fills is not None:
        response.fills.CopyFrom(write(negatives.fills))
    if negatives.vectors is not None:
        response.embeddings.CopyFrom(write(negatives.vectors))
    return response
