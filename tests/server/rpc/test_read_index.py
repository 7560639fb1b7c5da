"""Wrong upserts, deletes and fetches: each named by field, value and index, and nothing of them applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from live_wire import TIMEOUT_S, Refusal, Wire, batch, refusal, refusal_of, tensor, upserts, vectors
from negmine.encoder import Encoder
from negmine.v1 import index_pb2 as pb
from negmine.v1 import types_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
TOO_LARGE = grpc.StatusCode.RESOURCE_EXHAUSTED
NOT_READY = grpc.StatusCode.FAILED_PRECONDITION
ENCODER = Encoder(8, 64)


def rows_with(index: tuple[int, ...], value: float) -> Any:
    rows = vectors(3, 8)
    rows[index] = value
    return rows


def codes(count: int = 3, **changes: Any) -> types_pb2.Codes:
    made = ENCODER.encode(vectors(count, 8))
    fields = {
        "fingerprint": ENCODER.fingerprint,
        "codes": tensor(made.words, "uint64"),
        "corrections": tensor(made.corrections, "float32"),
    }
    return types_pb2.Codes(**{name: value for name, value in (fields | changes).items() if value is not None})


def one(**fields: Any) -> pb.UpsertBatch:
    return batch([11], vectors(1, 8), **fields)


def three(*rows: Any, **fields: Any) -> pb.UpsertBatch:
    return batch([11, 12, 13], *rows, **fields)


def coded(**changes: Any) -> pb.UpsertBatch:
    return three(codes=codes(**changes))


def wrong_tensor(**fields: Any) -> pb.UpsertBatch:
    good = batch([11, 12, 13], vectors(3, 8))
    good.embeddings.MergeFrom(types_pb2.Tensor(**fields))
    return good


def refused_in_a_stream(wire: Wire, name: str, wrong: pb.UpsertBatch, writer: str = "") -> Refusal:
    """Sends a good batch, the wrong one and another good one: the first is acked, and only the first is in."""
    numbers = (1, 3) if writer else (0, 0)
    first, last = batch([1], vectors(1, 8), number=numbers[0]), batch([2], vectors(1, 8), number=numbers[1])
    answers = wire.stream(upserts(name, first, wrong, last, writer=writer))
    seen = []
    with pytest.raises(grpc.RpcError) as caught:
        seen.extend(answers)
    assert [answer.WhichOneof("message") for answer in seen] == ["ready", "ack"]
    assert wire.get(name).rows == 1
    assert wire.found(name, [1, 2, 11, 12, 13]) == [1]
    return refusal_of(caught.value)


WRONG: dict[str, tuple[Callable[[], pb.UpsertBatch], str, str, list[str]]] = {
    "dimension": (lambda: batch([11, 12, 13], vectors(3, 9)), "batch.embeddings", "WRONG_SHAPE", ["[3, 9]", "[n, 8]"]),
    "nan": (lambda: three(rows_with((2, 5), np.nan)), "batch.embeddings", "NOT_FINITE", ["[2, 5] is nan"]),
    "inf": (lambda: three(rows_with((1, 0), -np.inf)), "batch.embeddings", "NOT_FINITE", ["[1, 0]", "-inf"]),
    "zero vector": (lambda: three(rows_with((1,), 0)), "batch.embeddings", "BAD_LENGTH", ["[1]", "zero"]),
    "tiny vector": (lambda: three(rows_with((1,), 1e-20)), "batch.embeddings", "BAD_LENGTH", ["[1]", "e-20"]),
    "huge vector": (lambda: three(rows_with((2,), 1e30)), "batch.embeddings", "BAD_LENGTH", ["[2]", "e+30"]),
    "negative id": (lambda: batch([11, -12, 13], vectors(3, 8)), "batch.ids", "OUT_OF_RANGE", ["[1] is -12"]),
    "duplicate id": (lambda: batch([11, 12, 11], vectors(3, 8)), "batch.ids", "DUPLICATE_ID", ["11 twice, at 0 and 2"]),
    "rows and ids": (
        lambda: batch([11, 12], vectors(3, 8)),
        "batch.embeddings",
        "WRONG_SHAPE",
        ["3 rows", "batch.ids 2"],
    ),
    "id type": (lambda: pb.UpsertBatch(ids=tensor([11], "int32")), "batch.ids", "WRONG_DTYPE", ["int32", "int64"]),
    "no ids": (
        lambda: pb.UpsertBatch(embeddings=tensor(vectors(1, 8), "float32")),
        "batch.ids",
        "WRONG_DTYPE",
        ["unspecified"],
    ),
    "unknown type": (lambda: wrong_tensor(dtype=99), "batch.embeddings", "WRONG_DTYPE", ["99", "float32 or float16"]),
    "int vectors": (lambda: wrong_tensor(dtype=types_pb2.DATA_TYPE_INT8), "batch.embeddings", "WRONG_DTYPE", ["int8"]),
    "short bytes": (
        lambda: wrong_tensor(dtype=types_pb2.DATA_TYPE_FLOAT16),
        "batch.embeddings",
        "WRONG_SIZE",
        ["96 bytes", "48"],
    ),
    "extra axis": (lambda: wrong_tensor(shape=[1]), "batch.embeddings", "WRONG_SHAPE", ["[3, 8, 1]"]),
    "no items": (lambda: batch([11]), "batch.items", "INVALID_INPUT", ["embeddings or codes"]),
    "groups": (lambda: one(groups=[-2]), "batch.groups", "OUT_OF_RANGE", ["[0] is -2", "-1"]),
    "groups' number": (lambda: one(groups=[1, 2]), "batch.groups", "WRONG_SHAPE", ["[2]", "[1]"]),
    "tags' number": (lambda: one(tags=[1, 2]), "batch.tags", "WRONG_SHAPE", ["[2]"]),
    "uncertainty": (lambda: one(uncertainties=[np.inf]), "batch.uncertainties", "NOT_FINITE", ["[0] is inf"]),
    "step": (lambda: one(step=1001), "version.step", "STEP_TOO_FAR_AHEAD", ["1001", "1000", "newest, 0"]),
    "absurd step": (lambda: one(step=2**64 - 1), "version.step", "STEP_TOO_FAR_AHEAD", [str(2**64 - 1)]),
    "generation": (lambda: one(generation=1), "version.generation", "GENERATION_NOT_STARTED", ["is 1", "is 0"]),
    "stray number": (lambda: one(number=5), "batch.number", "INVALID_INPUT", ["5", "writer id"]),
    "code's length": (
        lambda: coded(codes=tensor(np.zeros((3, 2)), "uint64")),
        "codes.codes",
        "WRONG_SHAPE",
        ["[3, 2]", "[3, 1]"],
    ),
    "codes' number": (lambda: batch([11, 12], codes=codes()), "codes.codes", "WRONG_SHAPE", ["[3, 1]", "[2, 1]"]),
    "no corrections": (lambda: coded(corrections=None), "codes.corrections", "INVALID_INPUT", ["not set"]),
    "correction": (
        lambda: coded(corrections=tensor([1, np.nan, 1], "float32")),
        "codes.corrections",
        "NOT_FINITE",
        ["[1] is nan"],
    ),
    "negative correction": (
        lambda: coded(corrections=tensor([1, -2, 1], "float32")),
        "codes.corrections",
        "OUT_OF_RANGE",
        ["[1] is -2"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_batch_is_named_and_ends_the_stream(wire: Wire, what: str) -> None:
    make, field, reason, said = WRONG[what]
    refused = refused_in_a_stream(wire, wire.create(), make())
    assert (refused.code, refused.reason, refused.field, refused.domain) == (INVALID, reason, field, "negmine")
    assert refused.retry_ms == 0
    for words in said:
        assert words in refused.message


def test_codes_of_another_encoder_are_refused(wire: Wire) -> None:
    other = Encoder(8, 64, seed=1).fingerprint
    refused = refused_in_a_stream(wire, wire.create(), coded(fingerprint=other))
    assert (refused.code, refused.reason, refused.field) == (NOT_READY, "FINGERPRINT_MISMATCH", "codes.fingerprint")
    assert other in refused.message
    assert ENCODER.fingerprint in refused.message


def test_codes_are_refused_where_vectors_are_kept(wire: Wire) -> None:
    name = wire.create(vectors=types_pb2.VECTOR_STORE_INT8)
    refused = refused_in_a_stream(wire, name, coded())
    assert (refused.code, refused.reason) == (INVALID, "EMBEDDINGS_NEEDED")


@pytest.mark.parametrize("norms", [None, [1, np.inf, 1], [1, -1, 1], [1, 0, 1]])
def test_inner_product_needs_lengths_that_can_be(wire: Wire, norms: list[float] | None) -> None:
    name = wire.create(metric=types_pb2.METRIC_INNER_PRODUCT)
    encoder = Encoder(8, 64, cosine=False)
    sent = codes(fingerprint=encoder.fingerprint, norms=None if norms is None else tensor(norms, "float32"))
    refused = refused_in_a_stream(wire, name, three(codes=sent))
    assert (refused.code, refused.field) == (INVALID, "codes.norms")


def test_a_batch_over_the_bound_is_refused(wire: Wire) -> None:
    refused = refused_in_a_stream(wire, wire.create(), batch(range(11, 2012), np.ones((2001, 8))))
    assert (refused.code, refused.reason, refused.field) == (TOO_LARGE, "TOO_LARGE", "batch.ids")
    assert "2001" in refused.message
    assert "2000" in refused.message


def test_a_message_over_the_limit_ends_the_stream_alone(wire: Wire) -> None:
    name = wire.create()
    wrong = batch(range(11, 411), np.ones((400, 1024)))
    refused = refusal(lambda: wire.upsert(name, batch([1], vectors(1, 8)), wrong, batch([2], vectors(1, 8))))
    assert refused.code is TOO_LARGE
    assert str(1 << 20) in refused.message
    assert wire.found(name, [2, 11, 410]) == []


@pytest.mark.parametrize(("numbers", "said"), [((2, 2), "2 after 2"), ((5, 4), "4 after 5"), ((0,), "is 0")])
def test_numbers_rise(wire: Wire, numbers: tuple[int, ...], said: str) -> None:
    name = wire.create()
    sent = [batch([number], vectors(1, 8), number=number) for number in numbers]
    refused = refusal(lambda: wire.upsert(name, *sent, writer="w"))
    assert (refused.code, refused.field) == (INVALID, "batch.number")
    assert said in refused.message
    assert wire.get(name).rows == len(numbers) - 1


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"ids": tensor([1, -1], "int64")}, "ids", "[1] is -1"),
        ({"ids": tensor([1, 1], "int64")}, "ids", "1 twice"),
        ({"ids": tensor([[1]], "int64")}, "ids", "[1, 1]"),
        ({"version": types_pb2.Version(step=5000)}, "version.step", "5000"),
        ({"version": types_pb2.Version(generation=9)}, "version.generation", "9"),
    ],
)
def test_a_wrong_delete_is_named(wire: Wire, change: dict[str, Any], field: str, said: str) -> None:
    name = wire.create()
    wire.upsert(name, batch([1, 2], vectors(2, 8)))
    request = pb.DeleteRequest(**({"collection": name, "ids": tensor([1], "int64")} | change))
    refused = refusal(lambda: wire.index.Delete(request, timeout=TIMEOUT_S))
    assert (refused.code, refused.field) == (INVALID, field)
    assert said in refused.message
    assert wire.found(name, [1, 2]) == [1, 2]


def test_a_wrong_fetch_is_named(wire: Wire) -> None:
    name = wire.create()
    refused = refusal(lambda: wire.fetch(name, [3, -7]))
    assert (refused.code, refused.reason, refused.field) == (INVALID, "OUT_OF_RANGE", "ids")
    refused = refusal(lambda: wire.fetch(name, [3], return_embeddings=True))
    assert (refused.code, refused.field) == (INVALID, "return_embeddings")
    for call in (wire.fetch, wire.delete):
        refused = refusal(lambda call=call: call(name, range(2001)))
        assert (refused.code, refused.reason, refused.field) == (TOO_LARGE, "TOO_LARGE", "ids")
        refused = refusal(lambda call=call: call("nothing", [1]))
        assert (refused.code, refused.field) == (grpc.StatusCode.NOT_FOUND, "collection")
        assert "'nothing'" in refused.message
