"""Joins the shards' sorted candidates into one sorted list per anchor."""

from __future__ import annotations

from typing import Any

import numpy as np

from negmine_server.domain import F32, I32, I64, NO_ID, Candidates
from negmine_server.index.native import compiled


def merge(parts: list[Candidates], r: int) -> Candidates:
    """The best r of several shards' candidates, by (score descending, id ascending), as one scan of all would give.

    Scanned rows, rows above the cursor and times are summed.
    """
    scanned = sum(part.scanned for part in parts)
    above: I64 = np.stack([part.above for part in parts]).sum(axis=0)
    ids = np.stack([part.ids for part in parts])
    scores = np.stack([part.scores for part in parts])
    counts = np.stack([part.counts for part in parts])
    taken, merged = _order(scores, ids, counts, r)
    columns = np.arange(taken.shape[1])[None, :] >= merged[:, None]
    shard, position = taken // ids.shape[2], taken % ids.shape[2]
    rows = np.arange(ids.shape[1])[:, None]

    def pick(arrays: Any, fill: float) -> Any:
        picked = arrays[shard, rows, position]
        picked[columns] = fill
        return picked

    rescored = None
    if parts[0].rescored is not None:
        rescored = pick(np.stack([part.rescored for part in parts if part.rescored is not None]), -np.inf)
    return Candidates(
        ids=pick(ids, NO_ID),
        scores=pick(scores, -np.inf),
        rescored=rescored,
        versions=pick(np.stack([part.versions for part in parts]), 0),
        counts=merged,
        above=above,
        scanned=scanned,
        scan_s=sum(part.scan_s for part in parts),
        rescore_s=sum(part.rescore_s for part in parts),
    )


@compiled
def _order(scores: F32, ids: I64, counts: I32, r: int) -> tuple[I64, I32]:
    """Where each merged candidate stands, shard * R + position [B, r], and how many there are [B]."""
    shards, anchors, width = ids.shape
    taken = np.zeros((anchors, min(r, shards * width)), np.int64)
    merged = np.zeros(anchors, np.int32)
    heads = np.zeros(shards, np.int64)
    for anchor in range(anchors):
        heads[:] = 0
        for place in range(taken.shape[1]):
            best = -1
            for shard in range(shards):
                head = heads[shard]
                if head >= counts[shard, anchor]:
                    continue
                if best >= 0:
                    score, top = scores[shard, anchor, head], scores[best, anchor, heads[best]]
                    if score < top or (score == top and ids[shard, anchor, head] > ids[best, anchor, heads[best]]):
                        continue
                best = shard
            if best < 0:
                break
            taken[anchor, place] = best * width + heads[best]
            heads[best] += 1
            merged[anchor] += 1
    return taken, merged
