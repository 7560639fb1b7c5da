"""CollectionService over the wire: every RPC there and back, and every error of it."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import numpy as np
import pytest
from live_server import LiveServer
from live_wire import TIMEOUT_S, Wire, array, batch, refusal, tensor, vectors
from negmine.v1 import collection_pb2 as pb
from negmine.v1 import types_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def create(wire: Wire, name: str, spec: pb.CollectionSpec, **fields: bool) -> pb.CreateCollectionResponse:
    request = pb.CreateCollectionRequest(name=name, spec=spec, **fields)
    return wire.collections.CreateCollection(request, timeout=TIMEOUT_S)


def spec_of(**fields: object) -> pb.CollectionSpec:
    return pb.CollectionSpec(**{"dimension": 8, "bits": 64, **fields})


def test_a_collection_is_made_described_listed_and_dropped(wire: Wire) -> None:
    spec = spec_of(metric=types_pb2.METRIC_INNER_PRODUCT, vectors=types_pb2.VECTOR_STORE_INT8, seed=2**64 - 1, shards=4)
    made = create(wire, "made", spec)
    assert made.created
    assert made.collection.state == pb.SERVING_STATE_SERVING
    assert made.collection.spec.recall_target == pytest.approx(0.95)
    assert len(made.collection.watermark.sequences) == 4
    assert len(made.collection.fingerprint) == 32
    got = wire.get("made")
    assert got == made.collection
    listed = wire.collections.ListCollections(pb.ListCollectionsRequest(), timeout=TIMEOUT_S)
    assert got in listed.collections
    assert [item.name for item in listed.collections] == sorted(item.name for item in listed.collections)
    wire.collections.DropCollection(pb.DropCollectionRequest(collection="made"), timeout=TIMEOUT_S)
    gone = refusal(lambda: wire.get("made"))
    assert (gone.code, gone.reason, gone.field) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "collection")
    assert "'made'" in gone.message


def test_defaults_are_filled_in_and_told(wire: Wire) -> None:
    info = wire.get(wire.create())
    assert info.spec.metric == types_pb2.METRIC_COSINE
    assert info.spec.vectors == types_pb2.VECTOR_STORE_NONE
    assert info.spec.shards == 2
    assert (info.rows, info.generation, info.newest.step) == (0, 0, 0)


def test_exist_ok_takes_the_same_spec_alone(wire: Wire) -> None:
    name = wire.create(seed=5)
    again = create(wire, name, spec_of(seed=5), exist_ok=True)
    assert not again.created
    assert again.collection == wire.get(name)
    for spec, exist_ok in ((spec_of(seed=6), True), (spec_of(seed=5), False)):
        refused = refusal(lambda spec=spec, exist_ok=exist_ok: create(wire, name, spec, exist_ok=exist_ok))
        assert (refused.code, refused.reason) == (grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS")
        assert repr(name) in refused.message


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"dimension": 0}, "spec.dimension", "0"),
        ({"dimension": 8193}, "spec.dimension", "8193"),
        ({"bits": 0}, "spec.bits", "0"),
        ({"bits": 100}, "spec.bits", "100"),
        ({"bits": 4160}, "spec.bits", "4160"),
        ({"shards": 3}, "spec.shards", "3"),
        ({"shards": 512}, "spec.shards", "512"),
        ({"recall_target": 1.5}, "spec.recall_target", "1.5"),
        ({"recall_target": -0.5}, "spec.recall_target", "-0.5"),
        ({"recall_target": float("nan")}, "spec.recall_target", "nan"),
        ({"metric": 77}, "spec.metric", "77"),
        ({"vectors": 77}, "spec.vectors", "77"),
        ({"mean": pb.Mean(estimate_rows=0)}, "spec.mean.estimate_rows", "0"),
        ({"mean": pb.Mean(given=tensor([1] * 7, "float32"))}, "spec.mean.given", "[7]"),
        ({"mean": pb.Mean(given=tensor([1, 2, 3, np.nan, 5, 6, 7, 8], "float32"))}, "spec.mean.given", "[3] is nan"),
        ({"mean": pb.Mean(given=tensor(np.arange(8), "int64"))}, "spec.mean.given", "int64"),
    ],
)
def test_a_wrong_spec_is_named(wire: Wire, fields: dict[str, object], field: str, value: str) -> None:
    refused = refusal(lambda: create(wire, "wrong", spec_of(**fields)))
    assert (refused.code, refused.domain, refused.field) == (INVALID, "negmine", field)
    assert value in refused.message
    assert refusal(lambda: wire.get("wrong")).code is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "a\n", "ä", "x" * 65])
def test_a_wrong_name_is_named(wire: Wire, name: str) -> None:
    refused = refusal(lambda: create(wire, name, spec_of()))
    assert (refused.code, refused.field) == (INVALID, "name")
    assert repr(name) in refused.message


def test_aliases_point_flip_and_go(wire: Wire) -> None:
    first, second = wire.create(), wire.create()
    wire.upsert(first, batch([1], vectors(1, 8)))
    wire.upsert(second, batch([2], vectors(1, 8)))

    def point(alias: str, name: str) -> str:
        request = pb.SetAliasRequest(alias=alias, collection=name)
        return wire.collections.SetAlias(request, timeout=TIMEOUT_S).previous

    def drop_alias(alias: str) -> None:
        wire.collections.DropAlias(pb.DropAliasRequest(alias=alias), timeout=TIMEOUT_S)

    def drop(name: str) -> None:
        wire.collections.DropCollection(pb.DropCollectionRequest(collection=name), timeout=TIMEOUT_S)

    assert point("live", first) == ""
    answer = wire.mine("live", vectors(1, 8), 1)
    assert (answer.collection, array(answer.ids).tolist()) == (first, [[1]])
    assert point("live", second) == first
    answer = wire.mine("live", vectors(1, 8), 1)
    assert (answer.collection, array(answer.ids).tolist()) == (second, [[2]])
    listed = wire.collections.ListCollections(pb.ListCollectionsRequest(), timeout=TIMEOUT_S)
    assert pb.Alias(name="live", collection=second) in listed.aliases

    aliased = refusal(lambda: drop(second))
    assert (aliased.code, aliased.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ALIASED")
    assert "'live'" in aliased.message
    by_alias = refusal(lambda: drop("live"))
    assert (by_alias.code, by_alias.field) == (INVALID, "collection")
    taken = refusal(lambda: create(wire, "live", spec_of()))
    assert taken.code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal(lambda: point(first, second)).code is grpc.StatusCode.ALREADY_EXISTS
    assert refusal(lambda: point("other", "nothing")).code is grpc.StatusCode.NOT_FOUND
    assert refusal(lambda: point("other", "live")).code is grpc.StatusCode.NOT_FOUND
    assert refusal(lambda: point("no good", first)).field == "alias"
    drop_alias("live")
    unknown = refusal(lambda: drop_alias("live"))
    assert (unknown.code, unknown.field) == (grpc.StatusCode.NOT_FOUND, "alias")
    drop(second)
    assert refusal(lambda: drop(second)).code is grpc.StatusCode.NOT_FOUND


def test_generations_rise_by_one(wire: Wire) -> None:
    name = wire.create()

    def begin(**fields: int) -> int:
        request = pb.StartGenerationRequest(collection=name, **fields)
        return wire.collections.StartGeneration(request, timeout=TIMEOUT_S).generation

    wire.upsert(name, batch([1], vectors(1, 8), step=100))
    assert begin() == 1
    assert begin(generation=1) == 1  # a retry
    refused = refusal(lambda: begin(generation=3))
    assert (refused.code, refused.field) == (INVALID, "generation")
    assert "3" in refused.message
    assert begin(generation=2) == 2
    assert wire.get(name).generation == 2
    assert wire.upsert(name, batch([1], vectors(1, 8), step=5))[0].overwritten == 1  # an earlier step, a later attempt
    assert wire.upsert(name, batch([1], vectors(1, 8), step=900, generation=1))[0].stale == 1
    assert (wire.get(name).newest.generation, wire.get(name).newest.step) == (2, 5)


def test_a_snapshot_holds_what_was_acked_and_trims_the_log(wire: Wire) -> None:
    name = wire.create(shards=1)
    for step in range(5):
        ack = wire.upsert(name, batch(range(10), vectors(10, 8), step=step))[-1]

    def snapshot() -> pb.CreateSnapshotResponse:
        return wire.collections.CreateSnapshot(pb.CreateSnapshotRequest(collection=name), timeout=TIMEOUT_S)

    made = snapshot()
    assert made.rows == 10
    assert made.size_bytes > 10 * 8
    assert made.trimmed >= 4
    assert made.watermark == ack.watermark
    again = snapshot()
    assert (again.rows, again.size_bytes, again.trimmed, again.watermark) == (10, 0, 0, made.watermark)
    assert refusal(lambda: wire.collections.CreateSnapshot(pb.CreateSnapshotRequest())).code.name == "NOT_FOUND"


def test_statistics_count_what_is_there(wire: Wire) -> None:
    name = wire.create(shards=2, vectors=types_pb2.VECTOR_STORE_FLOAT32)
    wire.upsert(name, batch(range(100), vectors(100, 8)), batch(range(50), vectors(50, 8, 1), step=1))
    wire.delete(name, range(90, 100))
    stats = wire.collections.GetStats(pb.GetStatsRequest(collection=name), timeout=TIMEOUT_S)
    assert stats.collection.rows == 90
    assert [shard.shard for shard in stats.shards] == [0, 1]
    assert sum(shard.rows for shard in stats.shards) == 90
    assert sum(shard.dead_rows for shard in stats.shards) == 60
    assert sum(shard.tombstones for shard in stats.shards) == 10
    assert all(list(shard.bucket_rows) == [shard.rows] for shard in stats.shards)
    assert sum(shard.memory_bytes["vectors"] for shard in stats.shards) == 150 * 8 * 4
    assert all(shard.log_bytes > 0 and shard.snapshot_sequence == 0 for shard in stats.shards)
    assert tuple(shard.sequence for shard in stats.shards) == tuple(stats.collection.watermark.sequences)
    assert stats.bucket_max_over_mean >= 1
    assert 0.9 < stats.bucket_entropy <= 1
    assert stats.measured_recall == 1
    assert refusal(lambda: wire.collections.GetStats(pb.GetStatsRequest(collection="no"))).code.name == "NOT_FOUND"


def test_the_server_tells_its_limits_and_features(wire: Wire) -> None:
    info = wire.collections.GetServerInfo(pb.GetServerInfoRequest(), timeout=TIMEOUT_S)
    assert info.version == "0.1.0"
    assert info.backend == "cpu"
    assert {"policy.top", "policy.window", "scoring.float", "mean.estimated", "upsert.codes"} <= set(info.features)
    assert {"policy.softmax", "fill.relaxed", "explain"} <= set(info.features)
    assert (info.limits.anchors_max, info.limits.k_max, info.limits.batch_rows_max) == (512, 100, 2000)
    assert info.limits.message_bytes_max == 1 << 20
    assert all(getattr(info.limits, field.name) > 0 for field in info.limits.DESCRIPTOR.fields)


def test_more_collections_than_the_bound_are_refused(start: Callable[..., LiveServer]) -> None:
    with start(collections_max=2).wire() as wire:
        wire.create("a", shards=1)
        wire.create("b", shards=1)
        refused = refusal(lambda: wire.create("c", shards=1))
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_LARGE")
        assert "2 collections" in refused.message
        wire.collections.DropCollection(pb.DropCollectionRequest(collection="a"), timeout=TIMEOUT_S)
        wire.create("c", shards=1)
