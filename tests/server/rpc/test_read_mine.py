"""Wrong Mine requests: each named by field, value and index."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from live_wire import TIMEOUT_S, Wire, array, batch, mining, refusal, tensor, vectors
from negmine.encoder import Encoder
from negmine.v1 import mining_pb2 as pb
from negmine.v1 import policy_pb2, types_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOO_LARGE = grpc.StatusCode.RESOURCE_EXHAUSTED

ENCODER = Encoder(8, 64)
NAN, INF = float("nan"), float("inf")


def floats(rows: Any) -> types_pb2.Tensor:
    return tensor(rows, "float32")


def ragged(offsets: list[int], values: list[int]) -> types_pb2.RaggedIds:
    return types_pb2.RaggedIds(offsets=tensor(offsets, "int64"), values=tensor(values, "int64"))


def anchors_with(index: tuple[int, ...], value: float) -> types_pb2.Tensor:
    rows = vectors(3, 8)
    rows[index] = value
    return floats(rows)


def window(low: int, high: int, sampling: int = 0) -> policy_pb2.Policy:
    return policy_pb2.Policy(window=policy_pb2.Window(range_min=low, range_max=high, sampling=sampling))


def protection(**fields: float) -> dict[str, Any]:
    return {"protection": pb.Protection(**fields)}


WRONG: dict[str, tuple[dict[str, Any], grpc.StatusCode, str, list[str]]] = {
    "k is 0": ({"k": 0}, INVALID, "k", ["k is 0", "1 to 100"]),
    "k over the limit": ({"k": 101}, TOO_LARGE, "k", ["101", "100"]),
    "dimension": ({"embeddings": floats(vectors(3, 7))}, INVALID, "embeddings", ["[3, 7]", "[n, 8]"]),
    "nan": ({"embeddings": anchors_with((1, 3), NAN)}, INVALID, "embeddings", ["[1, 3] is nan"]),
    "inf": ({"embeddings": anchors_with((2, 0), INF)}, INVALID, "embeddings", ["[2, 0] is inf"]),
    "zero vector": ({"embeddings": anchors_with((2,), 0)}, INVALID, "embeddings", ["[2]", "zero vector"]),
    "too many anchors": ({"embeddings": floats(np.ones((513, 8)))}, TOO_LARGE, "embeddings", ["513", "512"]),
    "one axis": ({"embeddings": floats(np.ones(8))}, INVALID, "embeddings", ["[8]"]),
    "own id": ({"own_ids": tensor([1, -2, 3], "int64")}, INVALID, "own_ids", ["[1] is -2", "-1"]),
    "own ids' number": ({"own_ids": tensor([1], "int64")}, INVALID, "own_ids", ["[1]", "[3]"]),
    "group": ({"groups": tensor([0, 1, -9], "int64")}, INVALID, "groups", ["[2] is -9"]),
    "offsets' end": ({"positives": ragged([0, 1, 2, 3], [5, 6])}, INVALID, "positives.offsets", ["[3] is 3", "to 2"]),
    "offsets' begin": ({"positives": ragged([1, 1, 2, 2], [5, 6])}, INVALID, "positives.offsets", ["[0] is 1"]),
    "offsets fall": ({"positives": ragged([0, 2, 1, 2], [5, 6])}, INVALID, "positives.offsets", ["[2] is 1"]),
    "offsets' number": ({"positives": ragged([0, 2], [5, 6])}, INVALID, "positives.offsets", ["[2]", "[4]"]),
    "offsets overflow": ({"positives": ragged([0, 2**63 - 1, -(2**63), 2], [5, 6])}, INVALID, "positives.offsets", []),
    "positive": ({"positives": ragged([0, 1, 2, 2], [5, -6])}, INVALID, "positives.values", ["[1] is -6"]),
    "positives": (
        {"positives": ragged([0, 0, 51, 51], list(range(51)))},
        TOO_LARGE,
        "positives",
        ["anchor 1", "51", "50"],
    ),
    "positive score": ({"positive_scores": floats([0, INF, 0])}, INVALID, "positive_scores", ["[1] is inf"]),
    "tags' number": ({"require_tags": tensor([1, 2], "uint64")}, INVALID, "require_tags", ["2 values", "1 or 3"]),
    "tags' type": ({"forbid_tags": tensor([1], "int64")}, INVALID, "forbid_tags", ["int64", "uint64"]),
    "absolute margin": (protection(absolute_margin=-0.5), INVALID, "protection.absolute_margin", ["-0.5"]),
    "relative margin": (protection(relative_margin=1.5), INVALID, "protection.relative_margin", ["1.5", "[0, 1]"]),
    "percent": (protection(percent_of_positive=0), INVALID, "protection.percent_of_positive", ["is 0"]),
    "percent 95": (protection(percent_of_positive=95), INVALID, "protection.percent_of_positive", ["is 95"]),
    "max score": (protection(max_score=NAN), INVALID, "protection.max_score", ["nan"]),
    "empty window of scores": (
        protection(max_score=0.1, min_score=0.2),
        INVALID,
        "protection.min_score",
        ["0.2", "0.1"],
    ),
    "window": ({"policy": window(5, 5)}, INVALID, "policy.window.range_max", ["[5, 5)"]),
    "window below k": ({"policy": window(0, 1)}, INVALID, "policy.window", ["k is 2", "1 ranks"]),
    "window beyond": ({"policy": window(0, 20000)}, TOO_LARGE, "policy.window.range_max", ["20000", "16384"]),
    "sampling": ({"policy": window(0, 10, 9)}, INVALID, "policy.window.sampling", ["9"]),
    "recall": ({"recall_target": 0.0}, INVALID, "recall_target", ["is 0.0"]),
    "recall over 1": ({"recall_target": 1.5}, INVALID, "recall_target", ["1.5"]),
    "pool": ({"pool": 20000}, TOO_LARGE, "pool", ["20000", "16384"]),
    "max scanned": ({"max_scanned": 70000}, TOO_LARGE, "max_scanned", ["70000", "65536"]),
    "scoring": ({"scoring": 9}, INVALID, "scoring", ["9"]),
    "float without vectors": ({"scoring": types_pb2.SCORING_FLOAT}, INVALID, "scoring", ["keeps none"]),
    "rescore without vectors": ({"rescore": True}, INVALID, "rescore", ["keeps none"]),
    "vectors without vectors": ({"return_embeddings": True}, INVALID, "return_embeddings", ["keeps none"]),
    "priority": ({"priority": 9}, INVALID, "priority", ["9"]),
    "unknown fill": ({"fill": 9}, INVALID, "fill", ["9"]),
    "groups of items without": ({"groups": tensor([7, 7, 7], "int64")}, INVALID, "groups", ["none of the 20 items"]),
}
WRONG_POLICIES = {
    "beta": (policy_pb2.Policy(softmax={"beta": -1}), "policy.softmax.beta", "-1"),
    "margin": (policy_pb2.Policy(semi_hard={"margin": 0}), "policy.semi_hard.margin", "0"),
    "cutoff": (
        policy_pb2.Policy(distance_weighted={"cutoff": 2, "nonzero_loss_cutoff": 1}),
        "policy.distance_weighted",
        "2",
    ),
    "a": (policy_pb2.Policy(simans={"a": float("nan")}), "policy.simans.a", "nan"),
    "nearest": (policy_pb2.Policy(dss={"pool": 9, "nearest": 2}), "policy.dss.nearest", "2"),
    "pool": (policy_pb2.Policy(diverse={"trade_off": 0.5}), "policy.diverse.pool", "0"),
    "lambda": (policy_pb2.Policy(unremix={"lambda_similarity": -1, "tau": 1, "pool": 9}), "lambda_similarity", "-1"),
    "no lambda": (policy_pb2.Policy(unremix={"tau": 1, "pool": 9}), "policy.unremix", "all 0"),
    "tau": (policy_pb2.Policy(unremix={"lambda_similarity": 1, "pool": 9}), "policy.unremix.tau", "0"),
    "share": (policy_pb2.Policy(mixed={"random_share": 1.5}), "policy.mixed.random_share", "1.5"),
    "mixed in mixed": (policy_pb2.Policy(mixed={"hard": {"mixed": {}}}), "policy.mixed.hard", "mixed"),
}


@pytest.fixture
def name(wire: Wire) -> str:
    made = wire.create()
    wire.upsert(made, batch(range(20), vectors(20, 8)))
    return made


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_request_is_named(wire: Wire, name: str, what: str) -> None:
    change, code, field, said = WRONG[what]
    fields: dict[str, Any] = {"collection": name, "k": 2}
    if "embeddings" not in change:
        fields["embeddings"] = floats(vectors(3, 8))
    request = pb.MineRequest(**(fields | change))
    refused = refusal(lambda: wire.mining.Mine(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.field, refused.domain) == (code, field, "negmine")
    assert refused.reason
    for words in said:
        assert words in refused.message


@pytest.mark.parametrize("what", WRONG_POLICIES)
def test_a_wrong_policy_is_named(wire: Wire, name: str, what: str) -> None:
    policy, field, named = WRONG_POLICIES[what]
    refused = refusal(lambda: wire.mine(name, vectors(1, 8), 1, policy=policy))
    assert (refused.code, field in refused.field, named in refused.message) == (INVALID, True, True), refused


def test_policies_of_distances_need_unit_vectors(wire: Wire) -> None:
    made = wire.create(metric=types_pb2.METRIC_INNER_PRODUCT)
    wire.upsert(made, batch(range(5), vectors(5, 8)))
    for policy in (policy_pb2.Policy(semi_hard={"margin": 0.2}), policy_pb2.Policy(distance_weighted={})):
        refused = refusal(lambda wanted=policy: wire.mine(made, vectors(1, 8), 1, policy=wanted))
        assert (refused.code, refused.field) == (INVALID, "policy")
        assert "unit vectors" in refused.message


def test_a_request_without_anchors_or_collection_is_named(wire: Wire, name: str) -> None:
    refused = refusal(lambda: wire.mining.Mine(pb.MineRequest(collection=name, k=1), timeout=TIMEOUT_S))
    assert (refused.code, refused.field) == (INVALID, "anchors")
    refused = refusal(lambda: wire.mine("nothing", vectors(1, 8), 1))
    assert (refused.code, refused.reason, refused.field) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "collection")


def test_no_anchors_get_no_negatives(wire: Wire, name: str) -> None:
    reply = wire.mine(name, np.empty((0, 8)), 3)
    assert (array(reply.ids).shape, array(reply.counts).shape, list(reply.outcomes)) == ((0, 3), (0,), [])


def test_wrong_coded_anchors_are_named(wire: Wire, name: str) -> None:
    words = tensor(ENCODER.encode(vectors(3, 8)).words, "uint64")
    cases: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
        ({"fingerprint": "ab"}, {}, "FINGERPRINT_MISMATCH", "'ab'"),
        ({"codes": tensor(np.zeros((3, 2)), "uint64")}, {}, "WRONG_SHAPE", "[3, 2]"),
        ({"codes": tensor(np.zeros((3, 1)), "int64")}, {}, "WRONG_DTYPE", "int64"),
        ({}, {"scoring": types_pb2.SCORING_ASYMMETRIC}, "INVALID_INPUT", "asymmetric"),
        ({}, {"rescore": True}, "INVALID_INPUT", "rescore"),
    ]
    for codes, fields, reason, said in cases:
        sent = types_pb2.Codes(**({"fingerprint": ENCODER.fingerprint, "codes": words} | codes))
        request = pb.MineRequest(collection=name, codes=sent, k=2, **fields)
        refused = refusal(lambda request=request: wire.mining.Mine(request, timeout=TIMEOUT_S))
        assert refused.reason == reason
        assert said in refused.message


def test_lengths_of_coded_anchors_are_above_zero(wire: Wire) -> None:
    name = wire.create(metric=types_pb2.METRIC_INNER_PRODUCT)
    encoder = Encoder(8, 64, cosine=False)
    words = tensor(encoder.encode(vectors(2, 8)).words, "uint64")
    sent = types_pb2.Codes(fingerprint=encoder.fingerprint, codes=words, norms=floats([1, -1]))
    request = pb.MineRequest(collection=name, codes=sent, k=1)
    refused = refusal(lambda: wire.mining.Mine(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.field) == (INVALID, "codes.norms")
    assert "[1] is -1" in refused.message


def test_a_mine_over_the_message_limit_is_refused(wire: Wire, name: str) -> None:
    refused = refusal(lambda: wire.mining.Mine(mining(name, np.ones((400, 1024)), 1), timeout=TIMEOUT_S))
    assert refused.code is TOO_LARGE
