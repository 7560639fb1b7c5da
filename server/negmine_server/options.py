"""What may be returned for the anchors of a Mine, and how several calls' anchors become those of one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from negmine_server.domain import F32, I64, U64, Fill, Scoring
from negmine_server.encode import Anchors
from negmine_server.select.filters import Exclusions
from negmine_server.select.policy import Policy
from negmine_server.select.protection import Protection

RESCORE_FACTOR = 16  # candidates rescored per wanted negative
_BY_ANCHOR = (
    "own_ids",
    "positive_ids",
    "groups",
    "positive_scores",
    "require_tags",
    "forbid_tags",
    "min_steps",
    "seeds",
)


@dataclass(frozen=True, slots=True, eq=False)
class MineOptions:
    """What may be returned for B anchors; every array is there, filled with its "none"."""

    k: int
    own_ids: I64  # [B], NO_ID = none
    positive_offsets: I64  # [B + 1]
    positive_ids: I64  # sorted within each anchor
    groups: I64  # [B] to exclude, NO_GROUP = none
    positive_scores: F32  # [B], NaN = computed here
    require_tags: U64  # [B]
    forbid_tags: U64  # [B]
    min_steps: I64  # [B], lowest model step
    seeds: U64  # [B]
    protection: Protection
    policy: Policy
    scoring: Scoring
    rescore: bool
    recall_target: float  # of the probed scan against the exact one, in (0, 1]; 1 = exact
    pool: int  # candidates of the first round, 0 = chosen here
    pool_max: int
    max_scanned: int
    fill: Fill = Fill.NOTHING

    @property
    def wanted(self) -> int:
        """Candidates per anchor that must pass the filters."""
        return max(1, self.policy.wanted(self.k))

    @property
    def needs_positive(self) -> bool:
        """Whether an anchor without a positive's score can get nothing."""
        return self.protection.needs_positive or self.policy.needs_positive

    def exclusions(self, positive_scores: F32) -> Exclusions:
        """What the anchors must not get, of s+ [B]: the protection's window of scores, cut to the policy's band.

        An anchor that needs an s+ and has none is not bound by it.
        """
        doomed = np.isnan(positive_scores) & self.needs_positive
        known = np.where(doomed, np.float32(0), positive_scores)
        ceilings = self.protection.margin_ceilings(known)
        floors = np.full(len(known), self.protection.floor, np.float32)
        band = self.policy.band(known)
        if band is not None:
            ceilings, floors = np.minimum(ceilings, band[0]), np.maximum(floors, band[1])
        ceilings[doomed], floors[doomed] = np.inf, self.protection.floor
        return Exclusions(
            self.own_ids, self.positive_offsets, self.positive_ids, ceilings, self.protection.max_ceiling, floors
        )

    @property
    def pools(self) -> I64:
        """Candidates of the first round [B].

        For each anchor by itself, so that its answer does not depend on the batch it came in: what is wanted, and room
        for the anchor's own item and its positives.
        """
        return self.widened(self.usual_pool)

    @property
    def usual_pool(self) -> int:
        """Candidates per anchor where nothing was learnt about how many it takes."""
        return (RESCORE_FACTOR if self.rescore else 1) * self.wanted

    def widened(self, pool: int) -> I64:
        """`pools` where `pool` candidates are of use, but for the anchor's own item and its positives."""
        pools: I64 = max(pool, self.wanted) + 1 + np.diff(self.positive_offsets)
        if self.pool:
            pools[:] = self.pool
        return pools.clip(max=min(self.pool_max, self.max_scanned))

    @property
    def shared(self) -> Hashable:
        """What calls must agree in to be mined as one.

        The size of the pool, to a power of two, is in it too: the scan keeps the largest for every anchor.
        """
        alike = (self.k, self.protection, self.policy, self.scoring, self.rescore, self.recall_target)
        pools = int(self.pools.max(initial=0)).bit_length()
        return (*alike, self.fill, self.pool, self.pool_max, self.max_scanned, pools)


def kind(anchors: Anchors) -> Hashable:
    """What anchors must agree in to be joined."""
    return anchors.embeddings is None, anchors.norms is None


def join(anchors: Sequence[Anchors], options: Sequence[MineOptions]) -> tuple[Anchors, MineOptions]:
    """The anchors of several calls in a row; the calls agree in `kind` and `shared`."""
    first = options[0]
    if len(options) == 1:
        return anchors[0], first
    positives = np.concatenate([np.diff(each.positive_offsets) for each in options])
    arrays = {name: _stacked(options, name) for name in _BY_ANCHOR}
    return (
        Anchors(*(_stacked(anchors, name) for name in ("embeddings", "codes", "norms"))),
        replace(first, positive_offsets=np.append(0, np.cumsum(positives)), **arrays),
    )


def _stacked(parts: Sequence[Any], name: str) -> Any:
    """One field of all parts; None where they have none."""
    arrays = [getattr(part, name) for part in parts]
    return None if arrays[0] is None else np.concatenate(arrays)
