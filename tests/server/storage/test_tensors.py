from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from negmine_server.storage.tensors import Malformed, pack, unpack
from safetensors.numpy import load, save

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(lambda name: name != "__metadata__")
ARRAYS = st.dictionaries(
    NAMES,
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(np.dtype(dtype), hnp.array_shapes(min_side=0, max_dims=3))
    ),
    max_size=5,
)


@given(arrays=ARRAYS, metadata=st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3))
def test_round_trip(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    got, got_metadata = unpack(b"".join(pack(arrays, metadata)))
    assert got_metadata == metadata
    assert got.keys() == arrays.keys()
    for name, array in arrays.items():
        assert got[name].dtype == array.dtype
        np.testing.assert_array_equal(got[name], array)
        assert got[name].flags.aligned


@given(arrays=ARRAYS)
def test_the_reference_library_reads_it_and_writes_what_we_read(arrays: dict[str, np.ndarray]) -> None:
    theirs = load(b"".join(pack(arrays, {"a": "b"})))
    ours, _ = unpack(save(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)


def test_arrays_are_read_only_views_of_the_bytes() -> None:
    data = b"".join(pack({"x": np.arange(5)}, {}))
    array = unpack(memoryview(data))[0]["x"]
    assert not array.flags.writeable
    assert np.shares_memory(array, np.frombuffer(data, np.uint8))


@pytest.mark.parametrize(
    "header",
    [
        {"x": {"dtype": "I64", "shape": [2], "data_offsets": [0, 8]}},
        {"x": {"dtype": "I64", "shape": [1], "data_offsets": [8, 16]}},
        {"x": {"dtype": "I64", "shape": [-1], "data_offsets": [0, 8]}},
        {"x": {"dtype": "I64", "shape": [-1, -1], "data_offsets": [0, 8]}},
        {"x": {"dtype": "Q4", "shape": [1], "data_offsets": [0, 8]}},
        {"x": {"dtype": "I64", "data_offsets": [0, 8]}},
        {"x": None},
        [],
        7,
    ],
)
def test_malformed_headers_are_refused(header: object) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(Malformed):
        unpack(len(text).to_bytes(8, "little") + text + bytes(8))


@given(st.binary(max_size=40))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        unpack(data)
