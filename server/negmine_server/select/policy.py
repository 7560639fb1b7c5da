"""The interface of a selection policy: k picks from an anchor's ranked, filtered candidates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I32, I64, U64
from negmine_server.hashing import mix


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What the filters left, per anchor, by score descending and id ascending; padded beyond counts."""

    ids: I64  # [B, P]
    scores: F32  # [B, P], the final scores
    counts: I32  # [B]
    positive_scores: F32  # [B], NaN = none
    anchor_keys: U64  # [B], from the anchor's content: never its place in the batch
    seeds: U64  # [B], of the anchors' requests


class Policy(Protocol):
    """One way of picking. Frozen; its parameters are checked when it is made."""

    @property
    def name(self) -> str:
        """Its name in metrics and features."""

    def wanted(self, k: int) -> int:
        """How many ranked candidates must pass the filters before picking k."""

    def pick(self, pool: Pool, k: int) -> I64:
        """Places in the pool [B, k], -1 beyond what there is."""

    def passed_over(self, pool: Pool) -> I64:
        """Candidates [B] before the policy's window."""


def random_keys(pool: Pool) -> U64:
    """A random key per candidate [B, P], fixed by (seed, anchor, item id)."""
    seeded = mix(pool.anchor_keys ^ mix(pool.seeds))
    return mix(seeded[:, None] ^ mix(pool.ids.astype(np.uint64)))


def places(pool: Pool, k: int, first: int = 0) -> I64:
    """The places first, first + 1, … [B, k], -1 beyond what there is."""
    place = np.arange(first, first + k, dtype=np.int64)[None, :]
    return np.where(place < pool.counts[:, None], place, -1)


def taken(array: NDArray[Any], picks: I64, fill: float) -> NDArray[Any]:
    """An array [B, P] at the picks [B, k], `fill` where a pick is -1."""
    values: NDArray[Any] = array[np.arange(len(picks))[:, None], picks]
    values[picks < 0] = fill
    return values
