"""IndexService over the wire: items go in, are read back as they were, and go."""

from __future__ import annotations

import grpc
import numpy as np
import pytest
from live_wire import TIMEOUT_S, Wire, array, batch, refusal, tensor, unit, upserts, vectors
from negmine.encoder import Encoder
from negmine.v1 import collection_pb2, index_pb2, types_pb2

STORES = [types_pb2.VECTOR_STORE_INT8, types_pb2.VECTOR_STORE_FLOAT16, types_pb2.VECTOR_STORE_FLOAT32]


def test_an_upsert_stream_opens_and_acks_in_order(wire: Wire) -> None:
    name = wire.create()
    answers = wire.stream(upserts(name, *(batch(range(n, n + 3), vectors(3, 8), number=n + 1) for n in range(9)),
                                  writer="w"))  # fmt: skip
    ready = next(answers).ready
    assert (ready.window, ready.batch_rows_max, ready.collection) == (16, 2000, name)
    assert ready.watermark == wire.get(name).watermark or ready.watermark.incarnation
    acks = [answer.ack for answer in answers]
    assert [ack.number for ack in acks] == list(range(1, 10))
    assert [(ack.inserted, ack.overwritten) for ack in acks] == [(3, 0), *[(1, 2)] * 8]
    assert acks[-1].watermark == wire.get(name).watermark
    assert not any(ack.HasField("applied") or ack.duplicate for ack in acks)


def test_items_are_read_back_as_they_were_written(wire: Wire) -> None:
    name = wire.create(shards=4)
    rows = vectors(40, 8)
    groups, tags = np.arange(40) % 3 - 1, np.arange(40, dtype=np.uint64) << np.uint64(58)
    uncertainties = np.where(np.arange(40) % 2, np.float32(0.5), np.float32(np.nan))
    wire.upsert(name, batch(range(40), rows, step=7, groups=groups, tags=tags, uncertainties=uncertainties))
    asked = [39, 1000, 0, 5, 5]
    reply = wire.fetch(name, asked, return_codes=True)
    assert array(reply.found).tolist() == [1, 0, 1, 1, 1]
    assert array(reply.steps).tolist() == [7, 0, 7, 7, 7]
    assert array(reply.generations).tolist() == [0] * 5
    assert array(reply.groups).tolist() == [groups[39], -1, groups[0], groups[5], groups[5]]
    assert array(reply.tags).tolist() == [tags[39], 0, tags[0], tags[5], tags[5]]
    np.testing.assert_array_equal(array(reply.uncertainties), uncertainties[[39, 0, 0, 5, 5]])
    codes = Encoder(8, 64).encode(rows)
    assert reply.codes.fingerprint == Encoder(8, 64).fingerprint
    assert array(reply.codes.codes)[[0, 2, 3]].tolist() == codes.words[[39, 0, 5]].tolist()
    assert array(reply.codes.codes)[1].tolist() == [0]
    np.testing.assert_array_equal(array(reply.codes.corrections)[[0, 2, 3]], codes.corrections[[39, 0, 5]])
    assert not reply.codes.HasField("norms")


def test_items_with_and_without_values_beside_them_are_read_together(wire: Wire) -> None:
    """Shards in which no item has a group or tags answer beside shards in which some have."""
    name = wire.create(shards=8)
    wire.upsert(name, batch(range(50), vectors(50, 8)))
    wire.upsert(name, batch([100], vectors(1, 8), groups=[7], tags=[3], uncertainties=[0.25]))
    reply = wire.fetch(name, [*range(50), 100, 999])
    assert array(reply.found).tolist() == [1] * 51 + [0]
    assert array(reply.groups).tolist() == [-1] * 50 + [7, -1]
    assert array(reply.tags).tolist() == [0] * 50 + [3, 0]
    assert np.flatnonzero(~np.isnan(array(reply.uncertainties))).tolist() == [50]
    assert array(wire.fetch(name, [998, 999]).found).tolist() == [0, 0]
    assert array(wire.fetch(name, []).found).shape == (0,)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("metric", [types_pb2.METRIC_COSINE, types_pb2.METRIC_INNER_PRODUCT])
def test_stored_vectors_come_back(wire: Wire, store: int, metric: int) -> None:
    name = wire.create(vectors=store, metric=metric)
    rows = vectors(20, 8) * 3
    wire.upsert(name, batch(range(20), rows))
    reply = wire.fetch(name, [3, 77, 11], return_embeddings=True, return_codes=True)
    expected = (unit(rows) if metric == types_pb2.METRIC_COSINE else rows)[[3, 11]]
    got = array(reply.embeddings)
    tolerance = {STORES[0]: 1 / 127, STORES[1]: 1e-3, STORES[2]: 0}[store]
    np.testing.assert_allclose(got[[0, 2]], expected, atol=tolerance * np.abs(expected).max(), rtol=1e-6)
    assert not got[1].any()
    if metric == types_pb2.METRIC_INNER_PRODUCT:
        lengths = np.linalg.norm(rows[[3, 11]], axis=1)
        np.testing.assert_allclose(array(reply.codes.norms)[[0, 2]], lengths, rtol=1e-6)


@pytest.mark.parametrize(("wire_type", "bits"), [("float16", None), ("bfloat16", 16)])
def test_half_precision_is_what_it_rounds_to(wire: Wire, wire_type: str, bits: int | None) -> None:
    name = wire.create(vectors=types_pb2.VECTOR_STORE_FLOAT32, metric=types_pb2.METRIC_INNER_PRODUCT)
    rows = vectors(5, 8)
    if bits is None:
        sent, rounded = tensor(rows, "float16"), rows.astype(np.float16).astype(np.float32)
    else:
        upper = (rows.view(np.uint32) >> bits).astype(np.uint16)
        sent = types_pb2.Tensor(dtype=types_pb2.DATA_TYPE_BFLOAT16, shape=rows.shape, data=upper.tobytes())
        rounded = (upper.astype(np.uint32) << bits).view(np.float32)
    wire.upsert(name, index_pb2.UpsertBatch(ids=tensor(range(5), "int64"), embeddings=sent))
    np.testing.assert_array_equal(array(wire.fetch(name, range(5), return_embeddings=True).embeddings), rounded)


def test_the_version_rule_and_tombstones(wire: Wire) -> None:
    name = wire.create()
    assert wire.upsert(name, batch([1, 2], vectors(2, 8), step=5))[0].inserted == 2
    assert wire.upsert(name, batch([1, 2], vectors(2, 8), step=4))[0].stale == 2
    assert wire.upsert(name, batch([1, 2], vectors(2, 8), step=5))[0].overwritten == 2
    early = wire.delete(name, [1], version=types_pb2.Version(step=4))
    assert (early.deleted, early.stale) == (0, 1)
    gone = wire.delete(name, [1, 9], version=types_pb2.Version(step=6))
    assert (gone.deleted, gone.stale) == (1, 0)
    assert gone.watermark == wire.get(name).watermark
    late = wire.upsert(name, batch([1, 9], vectors(2, 8), step=5))[0]
    assert (late.inserted, late.stale) == (0, 2)
    back = wire.upsert(name, batch([1, 9], vectors(2, 8), step=7))[0]
    assert (back.inserted, back.stale) == (2, 0)
    assert wire.delete(name, [1, 2, 9]).deleted == 3  # of the newest version where none is named
    assert wire.found(name, [1, 2, 9]) == []


def test_a_retried_batch_is_acked_again_and_not_applied_again(wire: Wire) -> None:
    name = wire.create()
    sent = [batch([n], vectors(1, 8, n), number=n) for n in range(1, 4)]
    wire.upsert(name, *sent, writer="w")
    wire.delete(name, [1, 2, 3])
    again = wire.upsert(name, *sent, batch([4], vectors(1, 8), number=4), writer="w")
    assert [ack.duplicate for ack in again] == [True, True, True, False]
    assert [ack.inserted for ack in again] == [0, 0, 0, 1]
    assert wire.found(name, [1, 2, 3, 4]) == [4]
    other = wire.upsert(name, batch([5], vectors(1, 8), number=1), writer="another")
    assert not other[0].duplicate
    unnumbered = wire.upsert(name, batch([5], vectors(1, 8)), batch([5], vectors(1, 8)))
    assert [ack.overwritten for ack in unnumbered] == [1, 1]


def test_an_empty_batch_is_acked(wire: Wire) -> None:
    name = wire.create()
    (ack,) = wire.upsert(name, batch([], np.empty((0, 8))))
    assert (ack.inserted, ack.overwritten, ack.stale, ack.duplicate) == (0, 0, 0, False)
    assert wire.delete(name, []).deleted == 0
    assert wire.upsert(name) == []


def test_a_mine_or_fetch_waits_for_a_watermark(wire: Wire) -> None:
    name = wire.create()
    ack = wire.upsert(name, batch([1], vectors(1, 8)))[0]
    assert array(wire.fetch(name, [1], min_watermark=ack.watermark).found).tolist() == [1]
    ahead = types_pb2.Watermark()
    ahead.CopyFrom(ack.watermark)
    ahead.sequences[:] = [sequence + 1 for sequence in ahead.sequences]
    request = index_pb2.FetchRequest(collection=name, ids=tensor([1, 2, 3, 4], "int64"), min_watermark=ahead)
    waiting = wire.index.Fetch.future(request, timeout=TIMEOUT_S)
    for first in (2, 3, 4, 5, 6, 7, 8, 9):  # until both shards have one more
        wire.upsert(name, batch([first], vectors(1, 8)))
    assert array(waiting.result().found)[0] == 1
    far = types_pb2.Watermark(incarnation=ahead.incarnation, sequences=[10**6, 10**6])
    request = index_pb2.FetchRequest(collection=name, ids=tensor([1], "int64"), min_watermark=far)
    late = refusal(lambda: wire.index.Fetch(request, timeout=0.5))
    assert late.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (late.reason, late.field) == ("WATERMARK_NOT_REACHED", "min_watermark")
    assert "1000000" in late.message


def test_a_watermark_of_another_incarnation_is_an_error_not_a_hang(wire: Wire) -> None:
    name = wire.create()
    mark = wire.upsert(name, batch([1], vectors(1, 8)))[0].watermark
    wire.collections.DropCollection(collection_pb2.DropCollectionRequest(collection=name))
    wire.create(name)
    for call in (lambda: wire.fetch(name, [1], min_watermark=mark),
                 lambda: wire.mine(name, vectors(1, 8), 1, min_watermark=mark)):  # fmt: skip
        refused = refusal(call)
        assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
        assert (refused.reason, refused.field) == ("INCARNATION_MISMATCH", "min_watermark")
        assert mark.incarnation in refused.message
