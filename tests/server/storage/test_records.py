from __future__ import annotations

import struct
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.domain import Batch
from negmine_server.errors import DataLoss, NotReady
from negmine_server.storage.records import (
    Corrupt,
    Kind,
    Torn,
    Unreadable,
    decode_batch,
    decode_frame,
    encode_batch,
    encode_frame,
)
from safetensors.numpy import save

TOKEN = bytes(range(16))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    rows = draw(st.integers(0, 20))
    words = draw(st.integers(1, 8))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    optional = {
        "corrections": random.normal(size=rows).astype(np.float32),
        "norms": random.random(rows).astype(np.float32),
        "groups": random.integers(-1, 2**62, rows),
        "tags": random.integers(0, 2**64, rows, dtype=np.uint64),
        "uncertainties": np.where(random.random(rows) < 0.5, np.nan, 1).astype(np.float32),
        "vectors": random.normal(size=(rows, 3)).astype(draw(st.sampled_from([np.int8, np.float16, np.float32]))),
        "scales": random.random(rows).astype(np.float32),
        "codes": random.integers(0, 2**64, (rows, words), dtype=np.uint64),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(optional))))
    return Batch(
        ids=random.integers(0, 2**62, rows),
        versions=random.integers(0, 2**62, rows),
        **{name: optional[name] for name in chosen},
        writer=draw(st.text(max_size=10)),
        number=draw(st.integers(0, 2**62)),
        time_ms=draw(st.integers(0, 2**50)),
    )


def assert_same(got: Batch, expected: Batch) -> None:
    for column in fields(Batch):
        mine, theirs = getattr(got, column.name), getattr(expected, column.name)
        if isinstance(theirs, np.ndarray):
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)
        else:
            assert mine == theirs


@given(batch=batches())
def test_batch_round_trip(batch: Batch) -> None:
    assert_same(decode_batch(encode_batch(batch)), batch)


@given(payloads=st.lists(st.binary(max_size=50), max_size=6), sequence=st.integers(0, 2**64 - 1))
def test_frame_round_trip(payloads: list[bytes], sequence: int) -> None:
    frame = decode_frame(b"".join(encode_frame(Kind.DATA, sequence, TOKEN, payloads)), "k")
    assert (frame.kind, frame.sequence, frame.token) == (Kind.DATA, sequence, TOKEN)
    assert [bytes(payload) for payload in frame.payloads] == payloads


def test_arrays_inside_a_frame_are_aligned() -> None:
    batch = Batch(ids=np.arange(3), versions=np.arange(3), scales=np.ones(3, np.float32), writer="w" * 5)
    frame = decode_frame(b"".join(encode_frame(Kind.DATA, 1, TOKEN, [b"odd", encode_batch(batch)])), "k")
    assert decode_batch(frame.payloads[1]).ids.flags.aligned


@settings(max_examples=30)
@given(payloads=st.lists(st.binary(max_size=20), max_size=3))
def test_any_truncation_is_torn_and_any_flip_is_unreadable(payloads: list[bytes]) -> None:
    data = b"".join(encode_frame(Kind.DATA, 9, TOKEN, payloads))
    for length in range(len(data)):
        with pytest.raises(Torn):
            decode_frame(data[:length], "k")
    for position in range(len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 0x10
        with pytest.raises((Unreadable, NotReady)):
            decode_frame(bytes(flipped), "k")


def test_what_follows_a_frame_is_corrupt() -> None:
    with pytest.raises(Corrupt, match="log/7"):
        decode_frame(b"".join(encode_frame(Kind.DATA, 7, TOKEN, [b"x"])) + b"y", "log/7")


def test_newer_formats_are_refused_clearly() -> None:
    data = bytearray(b"".join(encode_frame(Kind.DATA, 7, TOKEN, [b"x"])))
    struct.pack_into("<H", data, 4, 2)
    with pytest.raises(NotReady, match="log/7: format version 2, this server reads up to 1"):
        decode_frame(bytes(data), "log/7")
    metadata = {"version": "2", "writer": "", "number": "0", "time_ms": "0"}
    with pytest.raises(NotReady, match="batch format version 2"):
        decode_batch(save({"ids": np.arange(2)}, metadata))


@pytest.mark.parametrize(
    "arrays",
    [
        {"ids": np.arange(2)},
        {"ids": np.arange(2), "versions": np.arange(3)},
        {"ids": np.arange(2), "versions": np.arange(2, dtype=np.int32)},
        {"ids": np.arange(2), "versions": np.arange(2), "codes": np.zeros(2, np.uint64)},
        {"ids": np.arange(2), "versions": np.arange(2), "surprise": np.arange(2)},
        {"versions": np.arange(2)},
    ],
)
def test_a_batch_that_nobody_wrote_is_data_loss(arrays: dict[str, np.ndarray]) -> None:
    metadata = {"version": "1", "writer": "", "number": "0", "time_ms": "0"}
    with pytest.raises(DataLoss):
        decode_batch(save(arrays, metadata))
    with pytest.raises(DataLoss):
        decode_batch(save({"ids": np.arange(2), "versions": np.arange(2)}))
    with pytest.raises(DataLoss):
        decode_batch(b"noise")
