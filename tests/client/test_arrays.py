"""Arrays of every kind against the wire's own reading of them."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from fault_wire import read
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from negmine import _arrays
from negmine.v1 import types_pb2

WIRE_TYPES = ["float32", "float16", "int8", "int32", "int64", "uint8", "uint64"]
shapes = hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5)


@given(st.sampled_from(WIRE_TYPES).flatmap(lambda name: hnp.arrays(name, shapes)))
def test_every_type_survives_the_wire(given_array: np.ndarray) -> None:
    name = given_array.dtype.name
    message = types_pb2.Tensor.FromString(_arrays.tensor(given_array).SerializeToString())
    back = _arrays.array(message, name)
    np.testing.assert_array_equal(back, given_array)
    assert back.dtype == given_array.dtype
    assert back.flags.writeable


@given(
    hnp.arrays(st.sampled_from(["<f4", ">f4", "<f2", ">f2", "<f8", ">f8"]), st.tuples(st.just(6), st.just(4))),
    st.sampled_from(["plain", "transposed", "strided", "reversed"]),
)
def test_embeddings_of_any_layout_arrive_as_they_are(held: np.ndarray, layout: str) -> None:
    view = {"plain": held, "transposed": held.T, "strided": held[::2, 1:3], "reversed": held[::-1]}[layout]
    with np.errstate(over="ignore"):
        made = _arrays.to_embeddings(view, "embeddings")
        wanted = view.astype(np.float32)
    np.testing.assert_array_equal(read(made.tensor()), wanted)
    assert made.wire_type == (2 if view.dtype.itemsize == 2 else 1)
    assert made.tensor().ByteSize() >= made.row_bytes * len(made)


def test_lists_are_arrays_too() -> None:
    made = _arrays.to_embeddings([[1.0, 2.0], [3.0, 4.0]], "embeddings")
    np.testing.assert_array_equal(read(made.tensor()), [[1, 2], [3, 4]])
    assert _arrays.to_ids([3, 4], "ids").dtype == np.int64
    assert _arrays.to_ids([], "ids").shape == (0,)


def test_bfloat16_of_ml_dtypes_is_sent_as_it_is() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    held = np.array([[1.5, -2.25], [0.1, 3e38]], np.float32).astype(ml_dtypes.bfloat16)
    made = _arrays.to_embeddings(held.T, "embeddings")
    assert made.wire_type == types_pb2.DATA_TYPE_BFLOAT16
    np.testing.assert_array_equal(read(made.tensor()), held.T.astype(np.float32))


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "bool", "complex64", "U3", "O"])
def test_embeddings_that_are_no_floats_are_refused(dtype: str) -> None:
    with pytest.raises(negmine.InvalidInput, match=r"embeddings has dtype .*; expected float32, float16") as caught:
        _arrays.to_embeddings(np.zeros((2, 3), dtype), "embeddings")
    assert caught.value.field == "embeddings"


@given(hnp.arrays(hnp.integer_dtypes() | hnp.unsigned_integer_dtypes(), st.integers(1, 5)))
def test_integers_of_any_width_are_ids(held: np.ndarray) -> None:
    if held.astype(object).max() >= 1 << 63:
        with pytest.raises(negmine.InvalidInput, match=f"ids holds {held.max()}"):
            _arrays.to_ids(held, "ids")
        return
    np.testing.assert_array_equal(_arrays.to_ids(held, "ids"), held)


@pytest.mark.parametrize("wrong", [[True, False], [1.0, 2.0], ["a"], [1 << 80], None])
def test_ids_that_are_no_integers_are_refused(wrong: object) -> None:
    with pytest.raises(negmine.InvalidInput, match="expected integers"):
        _arrays.to_ids(wrong, "ids")


@pytest.mark.parametrize(
    ("value", "expected"), [(5, [5]), ([1, 2], [1, 2]), (np.uint64(1 << 63), [1 << 63]), ([(1 << 64) - 1, 0], None)]
)
def test_tags_are_one_mask_or_one_each(value: object, expected: list[int] | None) -> None:
    made = _arrays.to_tags(value, "tags", 2)
    assert made.dtype == np.uint64
    np.testing.assert_array_equal(made, np.array(value if expected is None else expected, np.uint64))


@pytest.mark.parametrize("wrong", [-1, [1, -1], [1, 2, 3], 1.5, [[1, 2]]])
def test_tags_that_do_not_fit_are_refused(wrong: object) -> None:
    with pytest.raises(negmine.InvalidInput, match=r"tags h(as|olds)"):
        _arrays.to_tags(wrong, "tags", 2)


def test_an_answer_of_another_type_is_refused() -> None:
    message = _arrays.tensor(np.zeros(3, np.float32))
    with pytest.raises(negmine.Internal, match="expected int64"):
        _arrays.array(message, "int64")
    message.data = message.data[:-1]
    with pytest.raises(negmine.Internal, match="11 bytes"):
        _arrays.array(message, "float32")
