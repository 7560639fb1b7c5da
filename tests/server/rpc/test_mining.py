"""MiningService over the wire: replies in full, streams, deadlines, crowds and callers who leave."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from live_server import LiveServer
from live_wire import TIMEOUT_S, Wire, array, batch, mining, refusal, refusal_of, tensor, vectors
from negmine.encoder import Encoder
from negmine.v1 import mining_pb2 as pb
from negmine.v1 import policy_pb2, types_pb2

COUNT = 200


@pytest.fixture
def name(wire: Wire) -> str:
    made = wire.create(vectors=types_pb2.VECTOR_STORE_FLOAT32)
    groups = np.arange(COUNT) % 4
    wire.upsert(made, batch(range(COUNT), vectors(COUNT, 8), step=6, groups=groups, tags=np.arange(COUNT) % 8))
    return made


def test_a_reply_says_everything(wire: Wire, name: str) -> None:
    anchors = vectors(COUNT, 8)[:3]
    positives = types_pb2.RaggedIds(offsets=tensor([0, 2, 2, 3], "int64"), values=tensor([3, 999, 5], "int64"))
    reply = wire.mine(
        name, anchors, 4, own_ids=tensor([0, 1, 2], "int64"), positives=positives, return_versions=True,
        return_embeddings=True, protection=pb.Protection(percent_of_positive=0.95), groups=tensor([0, 1, -1], "int64"),
    )  # fmt: skip
    ids, scores = array(reply.ids), array(reply.scores)
    assert (ids.shape, scores.shape, reply.exact_scores) == ((3, 4), (3, 4), True)
    assert ids[1].tolist() == [-1] * 4
    assert list(reply.outcomes) == [pb.OUTCOME_FULL, pb.OUTCOME_NO_POSITIVE_SCORE, pb.OUTCOME_FULL]
    assert reply.starved_anchors == 1
    assert array(reply.counts).tolist() == [4, 0, 4]
    assert [(item.anchor, item.id) for item in reply.missing_positives] == [(0, 999)]
    positive = array(reply.positive_scores)
    assert np.isnan(positive[1])
    assert (scores[[0, 2]] < 0.95 * positive[[0, 2], None]).all()
    assert not reply.HasField("standard_errors")
    assert not reply.HasField("weights")
    assert array(reply.steps).tolist() == [[6] * 4, [-1] * 4, [6] * 4]
    assert array(reply.generations).tolist() == [[0] * 4, [-1] * 4, [0] * 4]
    stored = array(reply.embeddings)
    unit_anchors = anchors / np.linalg.norm(anchors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.einsum("bkd,bd->bk", stored, unit_anchors)[[0, 2]], scores[[0, 2]], rtol=1e-5)
    assert all(item % 4 != 0 for item in ids[0])
    assert {"queue", "encode", "scan", "rescore", "select"} <= {timing.stage for timing in reply.timings}
    assert (reply.collection, reply.rows_scanned, reply.newest.step) == (name, COUNT, 6)
    assert reply.watermark == wire.get(name).watermark
    assert pb.DROP_REASON_MARGIN in {drop.reason for drop in reply.drops}


def test_filters_of_a_request_act(wire: Wire, name: str) -> None:
    anchor = vectors(1, 8, 5)

    def ids(**fields: object) -> list[int]:
        return array(wire.mine(name, anchor, 100, **fields).ids)[0].tolist()

    everything = ids()
    groups = tensor([2], "int64")
    assert [item % 4 == 2 for item in ids(groups=groups) if item >= 0].count(True) == 0
    assert ids(groups=groups, exclude_same_group=False) == everything
    assert {item & 6 for item in ids(require_tags=tensor([6], "uint64")) if item >= 0} == {6}
    assert {item & 3 for item in ids(forbid_tags=tensor([3], "uint64")) if item >= 0} == {0}
    assert ids(min_step=7) == [-1] * 100
    assert ids(max_staleness_steps=0) == everything
    wire.upsert(name, batch([0, 1], vectors(2, 8), step=9))
    assert sorted(item for item in ids(max_staleness_steps=2) if item >= 0) == [0, 1]
    window = policy_pb2.Policy(window=policy_pb2.Window(range_min=10, range_max=20))
    ranked = ids()
    assert array(wire.mine(name, anchor, 5, policy=window).ids)[0].tolist() == ranked[10:15]


def test_coded_anchors_are_scored_symmetrically(wire: Wire) -> None:
    name = wire.create()
    wire.upsert(name, batch(range(50), vectors(50, 8)))
    encoder, anchors = Encoder(8, 64), vectors(4, 8, 1)
    codes = types_pb2.Codes(fingerprint=encoder.fingerprint, codes=tensor(encoder.encode(anchors).words, "uint64"))
    coded = wire.mining.Mine(pb.MineRequest(collection=name, codes=codes, k=5), timeout=TIMEOUT_S)
    plain = wire.mine(name, anchors, 5, scoring=types_pb2.SCORING_SYMMETRIC)
    assert (coded.ids, coded.scores, coded.standard_errors) == (plain.ids, plain.scores, plain.standard_errors)
    assert not coded.exact_scores


def stream_of(wire: Wire, requests: Iterator[pb.MineStreamRequest]) -> dict[int, pb.MineStreamResponse]:
    answers = wire.mining.MineStream(requests, timeout=TIMEOUT_S)
    return {answer.number: answer for answer in answers}


def test_a_stream_answers_each_batch_and_goes_on_after_a_wrong_one(wire: Wire, name: str) -> None:
    asked = [mining(name, vectors(2, 8, number), 3) for number in range(40)]
    asked[7].k = 0
    asked[8].collection = "nothing"
    asked[9].k = 10**6
    answers = stream_of(wire, (pb.MineStreamRequest(number=n, request=request) for n, request in enumerate(asked)))
    assert sorted(answers) == list(range(40))
    errors = {number: answer.error for number, answer in answers.items() if answer.WhichOneof("result") == "error"}
    assert {number: (error.code, error.reason) for number, error in errors.items()} == {
        7: (grpc.StatusCode.INVALID_ARGUMENT.value[0], "INVALID_INPUT"),
        8: (grpc.StatusCode.NOT_FOUND.value[0], "NOT_FOUND"),
        9: (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], "TOO_LARGE"),
    }
    assert "k is 0" in errors[7].message
    assert answers[3].response.ids == wire.mine(name, vectors(2, 8, 3), 3).ids


def test_a_deadline_that_passed_is_an_error_at_once(wire: Wire, name: str) -> None:
    request = mining(name, vectors(1, 8), 1)
    assert refusal(lambda: wire.mining.Mine(request, timeout=0)).code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert refusal(lambda: wire.mining.Mine(request, timeout=-1)).code is grpc.StatusCode.DEADLINE_EXCEEDED


def told(reply: pb.MineResponse) -> bytes:
    """What a reply says but for its times."""
    reply.ClearField("timings")
    return reply.SerializeToString(deterministic=True)


def test_a_crowd_gets_what_each_would_get_alone(shared_server: LiveServer, wire: Wire, name: str) -> None:
    asked = []
    for number in range(60):
        rows = number % 4 + 1
        request = mining(name, vectors(rows, 8, number), 3 + number % 2, exact=True, seed=number)
        request.own_ids.CopyFrom(tensor(np.arange(rows) + number, "int64"))
        lists = types_pb2.RaggedIds(offsets=tensor(np.arange(rows + 1), "int64"), values=tensor([900] * rows, "int64"))
        request.positives.CopyFrom(lists)
        request.policy.window.CopyFrom(
            policy_pb2.Window(range_min=1, range_max=20, sampling=policy_pb2.Window.SAMPLING_RANDOM)
        )
        asked.append(request)
    before = [shared_server.metric(f"negmine_mine_calls_{what}") for what in ("sum", "count")]
    together = [wire.mining.Mine.future(request, timeout=TIMEOUT_S) for request in asked]
    got = [told(future.result()) for future in together]
    after = [shared_server.metric(f"negmine_mine_calls_{what}") for what in ("sum", "count")]
    calls, scans = np.subtract(after, before).tolist()
    assert calls == 60
    assert scans < 60
    assert got == [told(wire.mining.Mine(request, timeout=TIMEOUT_S)) for request in asked]


@pytest.fixture
def crowded(start: Callable[..., LiveServer]) -> Iterator[tuple[LiveServer, Wire, str]]:
    """One worker, a short queue, and a Mine that takes a while."""
    server = start(mine_workers=1, threads=1, queue_anchors_max=64, default_shards=1)
    with server.wire() as wire:
        name = wire.create(dimension=256, bits=4096, vectors=types_pb2.VECTOR_STORE_FLOAT32)
        rows = vectors(20_000, 256)
        for first in range(0, 20_000, 4000):
            wire.upsert(name, batch(range(first, first + 4000), rows[first : first + 4000]))
        yield server, wire, name


def long_mine(name: str) -> pb.MineRequest:
    return mining(name, vectors(1000, 256), 100, scoring=types_pb2.SCORING_ASYMMETRIC)


def test_beyond_the_queue_a_caller_is_asked_to_come_back(crowded: tuple[LiveServer, Wire, str]) -> None:
    server, wire, name = crowded
    working = wire.mining.Mine.future(long_mine(name), timeout=TIMEOUT_S)
    queued = wire.mining.Mine.future(mining(name, vectors(60, 256), 1), timeout=TIMEOUT_S)
    while server.metric("negmine_queue_anchors") < 60:
        assert not working.done(), "the long Mine ended before the queue was full"
    late = refusal(lambda: wire.mine(name, vectors(5, 256), 1))
    assert (late.code, late.reason) == (grpc.StatusCode.UNAVAILABLE, "OVERLOADED")
    assert late.retry_ms > 0
    assert late.pushback == str(late.retry_ms)
    assert "60 anchors wait" in late.message
    briefly = wire.mining.Mine.future(mining(name, vectors(4, 256), 1), timeout=0.05)
    with pytest.raises(grpc.RpcError) as caught:
        briefly.result()
    assert refusal_of(caught.value).code is grpc.StatusCode.DEADLINE_EXCEEDED
    queued.cancel()
    assert array(working.result().counts).tolist() == [100] * 1000
    wire.check_serving()
    assert server.metric("negmine_queue_anchors") == 0
    assert 'negmine_refused_mines_total{reason="overloaded"}' in server.metrics()
    assert 'negmine_refused_mines_total{reason="caller_left"}' in server.metrics()


def test_a_caller_who_leaves_a_stream_leaves_nothing_behind(crowded: tuple[LiveServer, Wire, str]) -> None:
    server, wire, name = crowded
    requests: queue.SimpleQueue[pb.MineStreamRequest] = queue.SimpleQueue()
    answers = wire.mining.MineStream(iter(requests.get, None), timeout=TIMEOUT_S)
    requests.put(pb.MineStreamRequest(number=1, request=mining(name, vectors(1, 256), 1)))
    assert next(answers).number == 1
    for number in range(2, 6):
        requests.put(pb.MineStreamRequest(number=number, request=long_mine(name)))
    answers.cancel()
    wire.check_serving()
    while server.metric("negmine_queue_anchors") > 0:
        pass
    wire.check_serving()
