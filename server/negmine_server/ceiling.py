"""What a score ceiling alone kept out of a scan, by reason: the scan counts rows, not which filter they would fail."""

from __future__ import annotations

import numpy as np

from negmine_server.domain import F32, I64, NO_GROUP, NO_ID, STEP_MAX, Bool, DropReason, Query
from negmine_server.engine.interface import Engine
from negmine_server.options import MineOptions
from negmine_server.select.filters import Exclusions

COLUMNS = {reason: column for column, reason in enumerate(DropReason)}


def cut_by_ceiling(
    engine: Engine, query: Query, options: MineOptions, exclusions: Exclusions, anchors: I64, above: I64
) -> I64:
    """Drops [B, reasons] for the rows `above` [b] the ceiling of `anchors` [b]: their own items and positives apart."""
    offsets = options.positive_offsets
    with_own = np.flatnonzero(options.own_ids != NO_ID)
    owners = np.repeat(np.arange(query.rows), np.diff(offsets))
    again = (np.diff(owners, prepend=-1) == 0) & (np.diff(options.positive_ids, prepend=-1) == 0)  # named twice
    once = ~again & (options.positive_ids != options.own_ids[owners])
    owners = np.concatenate([with_own, owners[once]])
    ids = np.concatenate([options.own_ids[with_own], options.positive_ids[once]])
    scores, here = engine.score(query, owners, ids, rescore=False)
    seen = here & (scores > query.after_scores[owners]) & np.isin(owners, anchors)
    seen[seen] = _admitted(engine, query, owners[seen], ids[seen], scores[seen])
    owned = with_own.size
    own = np.bincount(owners[:owned][seen[:owned]], minlength=query.rows)
    positive = np.bincount(owners[owned:][seen[owned:]], minlength=query.rows)
    rest = np.zeros(query.rows, np.int64)
    rest[anchors] = above
    rest = np.maximum(rest - own - positive, 0)
    by_margin = exclusions.margin_ceilings <= exclusions.max_ceiling
    drops = np.zeros((query.rows, len(DropReason)), np.int64)
    drops[:, COLUMNS[DropReason.OWN_ID]] = own
    drops[:, COLUMNS[DropReason.POSITIVE]] = positive
    drops[:, COLUMNS[DropReason.MARGIN]] = np.where(by_margin, rest, 0)
    drops[:, COLUMNS[DropReason.MAX_SCORE]] = np.where(by_margin, 0, rest)
    return drops


def _admitted(engine: Engine, query: Query, owners: I64, ids: I64, scores: F32) -> Bool:
    """Whether the scan's other filters admit each pair [m]; an item that has gone since is not admitted."""
    found, columns = engine.fetch(ids)
    owners = owners[found]
    passed = scores[found] >= query.floors[owners]
    if owners.size:
        groups = columns.get("groups", np.full(owners.size, NO_GROUP))
        tags = columns.get("tags", np.zeros(owners.size, np.uint64))
        passed &= (groups != query.exclude_groups[owners]) | (groups == NO_GROUP)
        passed &= (tags & query.require_tags[owners]) == query.require_tags[owners]
        passed &= (tags & query.forbid_tags[owners]) == 0
        passed &= (columns["versions"] & STEP_MAX) >= query.min_steps[owners]
    admitted = found.copy()
    admitted[found] = passed
    return admitted
