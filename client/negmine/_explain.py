"""What became of each of an anchor's nearest items in a mine call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from negmine import _joins, _requests
from negmine._arrays import array
from negmine._calls import Call
from negmine._exceptions import Internal
from negmine._models import ServerInfo
from negmine._options import MineArgs
from negmine._requests import MinePlan
from negmine._results import Negatives
from negmine._scalars import unsigned
from negmine.v1 import mining_pb2

_ARRAYS: Final = {"ids": "int64", "scores": "float32", "verdicts": "int32", "groups": "int64"}
_ROW_BYTES: Final = 8 + 4 + 4 + 8  # of one candidate in a reply


class Verdict(IntEnum):
    """What became of an item in a mine call, in the order in which it is decided."""

    NONE = 0  # no item: the collection has fewer
    PICKED = 1  # returned
    OWN_ID = 2  # the anchor itself
    POSITIVE = 3  # a positive of the anchor
    GROUP = 4  # in the anchor's group
    TAGS = 5  # lacks a required tag, or has a forbidden one
    AGE = 6  # too old
    MARGIN = 7  # too close to the positive's score, or above the policy's band of scores
    MAX_SCORE = 8  # above max_score
    MIN_SCORE = 9  # below min_score, or below the policy's band of scores
    NOT_PICKED = 10  # passed every filter, and the policy took others; or the search did not come across it


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The R nearest items of each of B anchors, whatever excludes them, and what became of them. Arrays are numpy's.

    Attributes:
        negatives: what the same mine call returns.
        ids: int64 [B, R], the most similar first; -1 where there is none.
        scores: float32 [B, R], of the kind that `negatives` has; NaN where there is none.
        verdicts: int32 [B, R] of `Verdict`.
        groups: int64 [B, R], the items' groups; -1 = none.
    """

    negatives: Negatives
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    verdicts: NDArray[np.int32]
    groups: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True, eq=False)
class ExplainPlan:
    """An explain call, checked and converted, before it is cut into parts.

    Attributes:
        mining: the mine call to be explained.
        candidates: items looked at per anchor.
    """

    mining: MinePlan
    candidates: int

    def calls(self, server: ServerInfo) -> list[Call[mining_pb2.ExplainResponse]]:
        """The calls for runs of anchors, each within the server's anchors and a message both ways.

        Raises:
            TooLarge: one anchor alone is beyond a message.
            Unimplemented: the server does not serve what is asked.
        """
        return [self._call(rows) for rows in self.mining.parts(server)]

    def join(self, replies: Sequence[mining_pb2.ExplainResponse]) -> Explanation:
        """The answers to the parts as one.

        Raises:
            Aborted: an alias moved to another collection between the parts.
        """
        negatives = _joins.join(self.mining, [reply.response for reply in replies])
        arrays = {
            name: np.concatenate([array(getattr(reply, name), dtype) for reply in replies])
            for name, dtype in _ARRAYS.items()
        }
        shape = (len(negatives), self.candidates)
        if any(held.shape != shape for held in arrays.values()):
            raise Internal(f"the server answered candidates of shape {arrays['ids'].shape}; expected {shape}")
        return Explanation(negatives, **arrays)

    def _call(self, rows: slice) -> Call[mining_pb2.ExplainResponse]:
        mine = self.mining.call(rows).request
        request = mining_pb2.ExplainRequest(request=mine, candidates=self.candidates)
        return Call("mining", "Explain", request, lambda reply: reply)


def plan(collection: str, args: MineArgs, candidates: int) -> ExplainPlan:
    """Checks and converts the arguments of one explain call.

    Raises:
        InvalidInput: a shape, type or name is wrong.
        TypeError: an argument is unknown.
    """
    mining = _requests.plan(collection, args)
    width = unsigned(candidates, "candidates")
    return ExplainPlan(
        replace(
            mining,
            device=None,
            needs=(*mining.needs, "explain"),
            reply_row_bytes=mining.reply_row_bytes + _ROW_BYTES * width,
        ),
        width,
    )
