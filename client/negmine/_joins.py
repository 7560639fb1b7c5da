"""Replies to the parts of one mine call as one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine import _arrays, _replies
from negmine._exceptions import Aborted, Internal
from negmine._requests import MinePlan
from negmine._results import Negatives
from negmine.v1 import mining_pb2


def join(plan: MinePlan, replies: Sequence[mining_pb2.MineResponse]) -> Negatives:
    """The answers to a call's parts as one answer, on the anchors' device.

    Raises:
        Aborted: an alias moved to another collection between the parts.
    """
    made = [_replies.negatives(reply) for reply in replies]
    whole = made[0] if len(made) == 1 else _joined(made)
    if len(whole) != len(plan.anchors):
        raise Internal(f"the server answered {len(whole)} anchors of {len(plan.anchors)}")
    if plan.device is None:
        return whole
    tensors: dict[str, Any] = {}
    for name in _replies.ARRAYS:
        held = getattr(whole, name)
        tensors[name] = None if held is None else _arrays.to_device(held, plan.device)
    return replace(whole, **tensors)


def _joined(parts: Sequence[Negatives]) -> Negatives:
    first, last = parts[0], parts[-1]
    mark = first.watermark
    drops: dict[str, int] = {}
    timings: dict[str, float] = {}
    missing: list[tuple[int, int]] = []
    anchors = 0
    for part in parts:
        if part.watermark.incarnation != first.watermark.incarnation:
            raise Aborted(
                f"the alias moved from {first.collection!r} to {part.collection!r} during the call: mine again",
                reason="ALIAS_MOVED",
            )
        mark = mark.floor(part.watermark)
        for reason, count in part.drops.items():
            drops[reason] = drops.get(reason, 0) + count
        for stage, duration in part.timings_ms.items():
            timings[stage] = timings.get(stage, 0.0) + duration
        missing.extend((anchor + anchors, id_) for anchor, id_ in part.missing_positives)
        anchors += len(part)
    return Negatives(
        **{name: _stacked([getattr(part, name) for part in parts]) for name in _replies.ARRAYS},
        outcomes=tuple(outcome for part in parts for outcome in part.outcomes),
        exact_scores=all(part.exact_scores for part in parts),
        drops=drops,
        missing_positives=tuple(missing),
        timings_ms=timings,
        watermark=mark,
        newest=last.newest,
        rows_scanned=max(part.rows_scanned for part in parts),
        collection=first.collection,
        ungrouped=sum(part.ungrouped for part in parts),
    )


def _stacked(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    held = [part for part in arrays if part is not None]
    return np.concatenate(held) if len(held) == len(arrays) else None
