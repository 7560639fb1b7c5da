"""Arguments of mining as requests, and the parts they are sent in."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from fault_wire import read
from hypothesis import given
from hypothesis import strategies as st
from negmine import _requests
from negmine._encoding import Codes
from negmine.v1 import mining_pb2, types_pb2

MARK = negmine.Watermark("abc", 3, (1, 2))


FEATURES = {"policy.top", "policy.window", "policy.mixed", "scoring.symmetric", "fill.relaxed", "protection.max_score"}


def server(anchors_max: int = 0, message_bytes_max: int = 1 << 20) -> negmine.ServerInfo:
    bounds = negmine.Limits(message_bytes_max, anchors_max, 0, 0, 0, 0, 0, 0, 0)
    return negmine.ServerInfo("0.9", bounds, frozenset(FEATURES | {"protection.absolute_margin"}), "cpu")


def request_of(**args: object) -> mining_pb2.MineRequest:
    plan = _requests.plan("c", {"anchors": np.ones((2, 4), np.float32), "k": 3, **args})  # type: ignore[typeddict-item]
    (cut,) = plan.parts(server())
    return plan.call(cut).request


def test_what_is_not_given_is_not_sent() -> None:
    request = request_of(groups=None, protection=None)
    named = {field.name for field, _ in request.ListFields()}
    assert named == {"collection", "embeddings", "k", "fill", "priority"}


def test_every_option_finds_its_field() -> None:
    request = request_of(
        own_ids=[1, -1],
        positives=[[5], []],
        groups=np.array([1, 2], np.int32),
        exclude_same_group=False,
        positive_scores=[0.5, np.nan],
        require_tags=3,
        forbid_tags=[4, 8],
        min_step=0,
        protection=negmine.Protection(absolute_margin=0.0, max_score=0.9),
        policy=negmine.Window(1, 9, "random"),
        scoring="symmetric",
        recall_target=0.9,
        rescore=False,
        pool=64,
        max_scanned=128,
        fill="relaxed",
        seed=(1 << 64) - 1,
        min_watermark=MARK,
        priority="bulk",
        return_versions=True,
        return_embeddings=True,
        return_weights=True,
    )
    assert read(request.own_ids).tolist() == [1, -1]
    assert read(request.positives.offsets).tolist() == [0, 1, 1]
    assert read(request.groups).tolist() == [1, 2]
    assert request.HasField("exclude_same_group")
    assert not request.exclude_same_group
    assert read(request.require_tags).tolist() == [3]
    assert read(request.forbid_tags).tolist() == [4, 8]
    assert request.WhichOneof("freshness") == "min_step"
    assert request.protection.HasField("absolute_margin")
    assert not request.protection.HasField("relative_margin")
    assert (request.policy.window.range_min, request.policy.window.range_max) == (1, 9)
    assert request.policy.window.sampling == 2
    assert request.scoring == types_pb2.SCORING_SYMMETRIC
    assert request.WhichOneof("accuracy") == "recall_target"
    assert request.HasField("rescore")
    assert not request.rescore
    assert (request.pool, request.max_scanned, request.seed) == (64, 128, (1 << 64) - 1)
    assert request.fill == mining_pb2.FILL_RELAXED
    assert (request.min_watermark.incarnation, list(request.min_watermark.sequences)) == ("abc", [1, 2])
    assert request.priority == mining_pb2.PRIORITY_BULK
    assert request.return_versions
    assert request.return_embeddings
    assert request.return_weights


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"k": -1}, "k is -1; expected an integer from 0"),
        ({"k": 2.0}, "k is 2.0; expected an integer"),
        ({"scoring": "cosine"}, "scoring is 'cosine'; expected one of auto, symmetric"),
        ({"fill": "zeros"}, "fill is 'zeros'"),
        ({"priority": "high"}, "priority is 'high'"),
        ({"min_step": 1, "max_staleness_steps": 2}, "min_step and max_staleness_steps are both given"),
        ({"exact": True, "recall_target": 0.5}, "exact and recall_target are both given"),
        ({"own_ids": [1]}, r"own_ids has shape \(1,\); expected \[2\]"),
        ({"positive_scores": [1.0]}, "positive_scores has shape"),
        ({"policy": "top"}, "policy is 'top'; expected one of Top, Window"),
        ({"protection": negmine.Protection(max_score="x")}, "protection is"),
        ({"recall_target": 0}, "recall_target is 0; expected more than 0, at most 1"),
        ({"recall_target": 7.0}, "recall_target is 7.0"),
        ({"recall_target": float("nan")}, "recall_target is nan"),
        ({"recall_target": "0.9"}, "recall_target is '0.9'"),
        ({"recall_target": True}, "recall_target is True"),
        ({"seed": 1 << 64}, "seed is 18446744073709551616"),
    ],
)
def test_values_the_wire_cannot_carry_are_refused(args: dict, message: str) -> None:
    with pytest.raises(negmine.InvalidInput, match=message):
        request_of(**args)


def test_names_that_do_not_exist_are_refused() -> None:
    with pytest.raises(TypeError, match="unknown arguments exclude_group; expected some of anchors,"):
        request_of(exclude_group=True)
    with pytest.raises(TypeError, match="missing arguments anchors"):
        _requests.plan("c", {"k": 1})  # type: ignore[typeddict-item]


@given(
    st.lists(st.integers(0, 100), min_size=1, max_size=120),
    st.integers(1, 50),
    st.integers(1, 500),
    st.integers(72, 200),
    st.booleans(),
)
def test_parts_cover_the_anchors_within_the_server(
    positives: list[int], anchors_max: int, dimension: int, kib: int, with_vectors: bool
) -> None:
    anchors = np.ones((len(positives), dimension), np.float32)
    lists = [np.arange(count) for count in positives]
    plan = _requests.plan(
        "c",
        {
            "anchors": anchors,
            "k": 1,
            "positives": lists,
            "own_ids": np.arange(len(anchors)),
            "groups": lists[0] if len(lists) == len(lists[0]) else None,
            "return_embeddings": with_vectors,
        },
    )
    bounds = server(anchors_max, kib * 1024)
    cuts = plan.parts(bounds)
    assert [cut.start for cut in cuts[1:]] == [cut.stop for cut in cuts[:-1]]
    assert (cuts[0].start, cuts[-1].stop) == (0, len(anchors))
    for cut in cuts:
        assert 1 <= cut.stop - cut.start <= anchors_max
        request = plan.call(cut).request
        assert request.ByteSize() <= bounds.limits.message_bytes_max
        assert request.embeddings.shape[0] == cut.stop - cut.start
        assert read(request.own_ids).tolist() == list(range(cut.start, cut.stop))
        assert np.diff(read(request.positives.offsets)).tolist() == positives[cut]


def test_an_anchor_beyond_a_message_is_too_large() -> None:
    plan = _requests.plan("c", {"anchors": np.ones((2, 8192), np.float32), "k": 1000, "return_embeddings": True})
    with pytest.raises(negmine.TooLarge, match="anchor 0 takes"):
        plan.parts(server(message_bytes_max=1 << 24))


def test_codes_are_sent_as_codes() -> None:
    codes = Codes(np.arange(8, dtype=np.uint64).reshape(4, 2), np.ones(4, np.float32), np.ones(4, np.float32), "print")
    plan = _requests.plan("c", {"anchors": codes, "k": 1})
    first, second = (plan.call(cut).request for cut in plan.parts(server(anchors_max=2)))
    assert first.WhichOneof("anchors") == "codes"
    assert second.codes.fingerprint == "print"
    assert read(second.codes.codes).tolist() == [[4, 5], [6, 7]]


def test_no_anchors_are_one_call() -> None:
    plan = _requests.plan("c", {"anchors": np.empty((0, 4), np.float32), "k": 1})
    assert plan.parts(server()) == [slice(0, 0)]


@pytest.mark.parametrize(
    ("args", "feature"),
    [
        ({"policy": negmine.Softmax(1.0)}, "policy.softmax; it serves policy.mixed, policy.top, policy.window"),
        ({"policy": negmine.Mixed(0.5, negmine.Dss(4, 1))}, "policy.dss"),
        ({"scoring": "float"}, "scoring.float; it serves scoring.symmetric"),
        ({"fill": "random"}, "fill.random"),
        ({"protection": negmine.Protection(min_score=0.0)}, "protection.min_score"),
    ],
)
def test_what_an_older_server_would_overlook_is_not_asked_of_it(args: dict, feature: str) -> None:
    with pytest.raises(negmine.Unimplemented, match=rf"version 0\.9\) does not serve {feature}"):
        request_of(**args)
