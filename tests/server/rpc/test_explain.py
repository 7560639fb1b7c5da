"""Explain over the wire: the answer of Mine and beside it the verdicts; what is wrong with a request."""

from __future__ import annotations

from functools import partial

import grpc
import numpy as np
import pytest
from live_wire import TIMEOUT_S, Wire, array, batch, refusal, tensor, vectors
from negmine.encoder import Encoder
from negmine.v1 import mining_pb2 as pb
from negmine.v1 import policy_pb2, types_pb2

COUNT = 60


def request(name: str, **fields: object) -> pb.MineRequest:
    return pb.MineRequest(collection=name, embeddings=tensor(vectors(COUNT, 8)[:3], "float32"), k=4, **fields)


@pytest.mark.parametrize("store", [types_pb2.VECTOR_STORE_NONE, types_pb2.VECTOR_STORE_INT8])
def test_the_answer_is_that_of_mine(wire: Wire, store: int) -> None:
    name = wire.create(vectors=store)
    wire.upsert(name, batch(range(COUNT), vectors(COUNT, 8), groups=np.arange(COUNT) % 4))
    asked = request(
        name,
        exact=True,
        own_ids=tensor([0, 1, 2], "int64"),
        groups=tensor([0, 1, -1], "int64"),
        protection=pb.Protection(absolute_margin=0.1),
        positive_scores=tensor([0.5, 0.5, np.nan], "float32"),
    )
    mined = wire.mining.Mine(asked, timeout=TIMEOUT_S)
    reply = wire.mining.Explain(pb.ExplainRequest(request=asked, candidates=COUNT + 1), timeout=TIMEOUT_S)
    np.testing.assert_array_equal(array(reply.response.ids), array(mined.ids))
    np.testing.assert_array_equal(array(reply.response.scores), array(mined.scores))
    ids, scores, verdicts, groups = (array(getattr(reply, part)) for part in ("ids", "scores", "verdicts", "groups"))
    assert ids.shape == scores.shape == verdicts.shape == groups.shape == (3, COUNT + 1)
    assert ids[:, 0].tolist() == [0, 1, 2]
    assert verdicts[:, 0].tolist() == [pb.VERDICT_OWN_ID] * 3
    assert (verdicts[:, -1] == pb.VERDICT_UNSPECIFIED).all()
    assert (groups[:, :-1] == ids[:, :-1] % 4).all()
    for row in range(2):
        assert (verdicts[row] == pb.VERDICT_GROUP).sum() == 14
        assert sorted(ids[row, verdicts[row] == pb.VERDICT_PICKED]) == sorted(array(mined.ids)[row])
        above = scores[row] > 0.4
        assert set(verdicts[row, above]) <= {pb.VERDICT_OWN_ID, pb.VERDICT_GROUP, pb.VERDICT_MARGIN}
    assert list(reply.response.outcomes)[2] == pb.OUTCOME_NO_POSITIVE_SCORE
    assert set(verdicts[2, 1:-1]) == {pb.VERDICT_NOT_PICKED}


def test_what_is_wrong_is_named(wire: Wire) -> None:
    name = wire.create()

    def explain(asked: pb.MineRequest, candidates: int) -> object:
        return wire.mining.Explain(pb.ExplainRequest(request=asked, candidates=candidates), timeout=TIMEOUT_S)

    for candidates, said in ((0, "candidates is 0; expected 1 to"), (10**6, "candidates is 1000000; this server")):
        refused = refusal(partial(explain, request(name), candidates))
        assert refused.field == "candidates"
        assert said in refused.message
    many = request(name)
    many.embeddings.CopyFrom(tensor(vectors(1024, 8), "float32"))
    assert "a call takes up to 4194304 pairs" in refusal(lambda: explain(many, 5000)).message
    assert refusal(lambda: explain(request("nowhere"), 5)).code is grpc.StatusCode.NOT_FOUND
    bad = request(name)
    bad.own_ids.CopyFrom(tensor([1], "int64"))
    assert refusal(lambda: explain(bad, 5)).field == "own_ids"


def test_coded_anchors_and_whole_pools_are_explained(wire: Wire) -> None:
    name = wire.create()
    wire.upsert(name, batch(range(COUNT), vectors(COUNT, 8)))
    words = Encoder(8, 64).encode(vectors(2, 8)).words
    codes = types_pb2.Codes(fingerprint=Encoder(8, 64).fingerprint, codes=tensor(words, "uint64"))
    unremix = policy_pb2.Unremix(lambda_similarity=1, tau=0.5, pool=10, weights_only=True)
    asked = pb.MineRequest(collection=name, codes=codes, k=4, policy=policy_pb2.Policy(unremix=unremix))
    reply = wire.mining.Explain(pb.ExplainRequest(request=asked, candidates=12), timeout=TIMEOUT_S)
    picked, verdicts = array(reply.response.ids), array(reply.verdicts)
    assert picked.shape == (2, 10)
    assert (verdicts[:, :10] == pb.VERDICT_PICKED).all()
    assert (verdicts[:, 10:] == pb.VERDICT_NOT_PICKED).all()
    np.testing.assert_array_equal(np.sort(array(reply.ids)[:, :10]), np.sort(picked))
