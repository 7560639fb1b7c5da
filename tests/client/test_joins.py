"""Replies to parts of a call as one answer."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from fault_wire import write
from negmine import _joins, _requests
from negmine.v1 import mining_pb2


def reply(first: int, anchors: int, wide: int, *, filled: bool) -> mining_pb2.MineResponse:
    ids = first + np.arange(anchors * wide, dtype=np.int64).reshape(anchors, wide)
    made = mining_pb2.MineResponse(
        ids=write(ids),
        scores=write((ids / 10).astype(np.float32)),
        counts=write(np.full(anchors, wide, np.int32)),
        weights=write((ids / 100).astype(np.float32)),
        outcomes=[mining_pb2.OUTCOME_FULL] * anchors,
        ungrouped_negatives=anchors,
    )
    if filled:
        made.fills.CopyFrom(write(np.arange(anchors, dtype=np.int32)))
    return made


@pytest.mark.parametrize("filled", [True, False])
def test_whole_pools_with_weights_and_fills_are_joined(filled: bool) -> None:
    policy = negmine.Unremix(pool=6, weights_only=True)
    plan = _requests.plan("c", {"anchors": np.ones((5, 4), np.float32), "k": 2, "policy": policy})
    whole = _joins.join(plan, [reply(0, 3, 6, filled=filled), reply(18, 2, 6, filled=filled)])
    np.testing.assert_array_equal(whole.ids, np.arange(30).reshape(5, 6))
    np.testing.assert_allclose(whole.weights, whole.ids / 100)
    assert whole.ungrouped == 5
    if filled:
        assert whole.fills.dtype == np.int32
        assert whole.fills.tolist() == [0, 1, 2, 0, 1]
    else:
        assert whole.fills is None


def test_fills_go_where_the_anchors_are() -> None:
    torch = pytest.importorskip("torch", reason="answers on the anchors' device need torch")
    plan = _requests.plan("c", {"anchors": torch.ones((2, 4)), "k": 3})
    whole = _joins.join(plan, [reply(0, 2, 3, filled=True)])
    assert whole.fills.dtype == torch.int32
    assert whole.fills.tolist() == [0, 1]
