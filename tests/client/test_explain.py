"""Explain calls: what is sent, in which parts, and what comes back as one."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from conftest import PATIENT
from fault_server import FaultServer
from fault_wire import read
from negmine import _explain
from negmine.v1 import mining_pb2

VECTORS = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
LIMITS = negmine.Limits(1 << 20, 3, 0, 0, 0, 0, 0, 0, 0)


def test_the_verdicts_are_those_of_the_wire() -> None:
    wire = {name.removeprefix("VERDICT_"): number for name, number in mining_pb2.Verdict.items()}
    wire["NONE"] = wire.pop("UNSPECIFIED")
    assert {verdict.name: verdict.value for verdict in negmine.Verdict} == wire


def test_the_request_is_that_of_mine() -> None:
    plan = _explain.plan("c", {"anchors": VECTORS[:4], "k": 2, "own_ids": [1, 2, 3, 4], "seed": 7}, 5)
    first, second = plan.calls(negmine.ServerInfo("0.9", LIMITS, frozenset({"explain"}), "cpu"))
    assert (first.service, first.method) == ("mining", "Explain")
    assert first.request.candidates == second.request.candidates == 5
    assert (first.request.request.k, first.request.request.seed) == (2, 7)
    assert read(first.request.request.own_ids).tolist() == [1, 2, 3]
    assert read(second.request.request.own_ids).tolist() == [4]


def test_a_server_that_cannot_explain_is_not_asked() -> None:
    plan = _explain.plan("c", {"anchors": VECTORS, "k": 2}, 5)
    with pytest.raises(negmine.Unimplemented, match="does not serve explain"):
        plan.calls(negmine.ServerInfo("0.9", LIMITS, frozenset(), "cpu"))


def test_candidates_count_for_the_size_of_an_answer() -> None:
    plan = _explain.plan("c", {"anchors": VECTORS, "k": 2}, 50_000)
    with pytest.raises(negmine.TooLarge, match="anchor 0 takes"):
        plan.calls(negmine.ServerInfo("0.9", LIMITS, frozenset({"explain"}), "cpu"))


def test_a_width_that_the_wire_cannot_carry_is_refused(client: negmine.Client) -> None:
    with pytest.raises(negmine.InvalidInput, match="candidates is -1"):
        client.collection("c").explain(VECTORS, 2, candidates=-1)


def test_parts_are_joined_as_if_they_were_one(faulty: FaultServer, client: negmine.Client) -> None:
    collection = client.collection("c")
    collection.upsert(np.arange(30), VECTORS, groups=np.arange(30) % 3)
    whole = collection.explain(VECTORS[:7], 2, candidates=5, own_ids=np.arange(7))
    faulty.faults.anchors_max = 3
    with negmine.Client(faulty.target, retry=PATIENT) as other:
        parts = other.collection("c").explain(VECTORS[:7], 2, candidates=5, own_ids=np.arange(7))
    assert faulty.store.calls["Explain"] == 1 + 3
    assert len(parts) == len(parts.negatives) == 7
    for name in ("ids", "scores", "verdicts", "groups"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.verdicts[:, 0].tolist() == [negmine.Verdict.NOT_PICKED] * 7
    assert (whole.verdicts[:, 1:3] == negmine.Verdict.PICKED).all()
    np.testing.assert_array_equal(whole.groups, whole.ids % 3)


async def test_asyncio_answers_the_same(faulty: FaultServer, client: negmine.Client) -> None:
    client.collection("c").upsert(np.arange(30), VECTORS)
    faulty.faults.anchors_max = 2
    async with negmine.AsyncClient(faulty.target, retry=PATIENT) as other:
        found = await other.collection("c").explain(VECTORS[:5], 2, candidates=40)
    expected = client.collection("c").explain(VECTORS[:5], 2, candidates=40)
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert (found.verdicts[:, 30:] == negmine.Verdict.NONE).all()


def test_the_real_server_explains(fresh: negmine.Collection) -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((60, 16)).astype(np.float32)
    steps = np.arange(60) >= 40
    for step in (0, 1):
        part = np.flatnonzero(steps == step)
        fresh.upsert(part, vectors[part], step=step, groups=part % 5, tags=part % 4)
    asked: negmine.MineOptions = {
        "own_ids": [50, 51],
        "positives": [[52], [53, 54]],
        "groups": [0, 1],
        "forbid_tags": 2,
        "min_step": 1,
        "policy": negmine.Window(0, 6, "random"),
        "protection": negmine.Protection(absolute_margin=0.1, min_score=-0.4, max_score=0.3),
        "seed": 3,
        "exact": True,
    }
    found = fresh.explain(vectors[50:52], 2, candidates=64, **asked)
    mined = fresh.mine(vectors[50:52], 2, **asked)
    np.testing.assert_array_equal(found.negatives.ids, mined.ids)
    assert (found.ids[:, 60:] == -1).all()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_array_equal(found.ids[:, :60], np.argsort(-unit[50:52] @ unit.T, axis=1))
    verdicts = {row: dict(zip(found.ids[row].tolist(), found.verdicts[row].tolist(), strict=True)) for row in (0, 1)}
    assert [verdicts[0][id_] for id_ in (50, 52, 55, 0)] == [
        negmine.Verdict.OWN_ID, negmine.Verdict.POSITIVE, negmine.Verdict.GROUP, negmine.Verdict.GROUP,
    ]  # fmt: skip
    assert [verdicts[1][id_] for id_ in (51, 53, 2, 4)] == [
        negmine.Verdict.OWN_ID, negmine.Verdict.POSITIVE, negmine.Verdict.TAGS, negmine.Verdict.AGE,
    ]  # fmt: skip
    for row in (0, 1):
        picked = [id_ for id_, verdict in verdicts[row].items() if verdict == negmine.Verdict.PICKED]
        assert sorted(picked) == sorted(id_ for id_ in mined.ids[row].tolist() if id_ >= 0)
    with pytest.raises(negmine.InvalidInput, match="candidates is 0; expected 1 to"):
        fresh.explain(vectors[:1], 2, candidates=0)
    with pytest.raises(negmine.TooLarge, match="candidates is 99999"):
        fresh.explain(vectors[:1], 2, candidates=99_999)
