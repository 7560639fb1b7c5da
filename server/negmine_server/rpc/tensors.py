"""Tensors on the wire ↔ numpy arrays. Everything that can be wrong with one is found here, by field and index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from negmine.encoder import lengths_of
from negmine.v1 import types_pb2 as pb
from numpy.typing import NDArray

from negmine_server.errors import InvalidInput

_DTYPES: dict[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_FLOAT16: np.dtype("<f2"),
    pb.DATA_TYPE_BFLOAT16: np.dtype("<u2"),
    pb.DATA_TYPE_INT8: np.dtype("i1"),
    pb.DATA_TYPE_INT32: np.dtype("<i4"),
    pb.DATA_TYPE_INT64: np.dtype("<i8"),
    pb.DATA_TYPE_UINT8: np.dtype("u1"),
    pb.DATA_TYPE_UINT64: np.dtype("<u8"),
}
_WIRE = {dtype: number for number, dtype in _DTYPES.items() if number != pb.DATA_TYPE_BFLOAT16}
FLOATS = (pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT16, pb.DATA_TYPE_BFLOAT16)

Shape = Sequence[int | None]  # None = any extent


def write(array: NDArray[Any]) -> pb.Tensor:
    """An array as a tensor."""
    dtype = _WIRE[array.dtype.newbyteorder("<")]
    return pb.Tensor(dtype=pb.DataType.Name(dtype), shape=array.shape, data=np.ascontiguousarray(array).tobytes())


def read(tensor: pb.Tensor, field: str, dtypes: Sequence[int], shape: Shape, *, shared: bool = False) -> NDArray[Any]:
    """A tensor as an array of its own: writable, since kernels are compiled for such. bfloat16 comes as float32.

    `shared` spares the copy of a large one; the array is read-only then.

    Raises:
        InvalidInput: another dtype or shape than asked for, or bytes that do not add up; names `field`.
    """
    if tensor.dtype not in dtypes:
        raise InvalidInput(
            f"{field} has dtype {_name(tensor.dtype)}; expected {' or '.join(map(_name, dtypes))}",
            field=field,
            reason="WRONG_DTYPE",
        )
    extents = tuple(tensor.shape)
    fits = len(extents) == len(shape) and all(
        want is None or have == want for have, want in zip(extents, shape, strict=True)
    )
    if not fits or min(extents, default=0) < 0:
        wanted = "[" + ", ".join("n" if extent is None else str(extent) for extent in shape) + "]"
        raise InvalidInput(f"{field} has shape {list(extents)}; expected {wanted}", field=field, reason="WRONG_SHAPE")
    dtype = _DTYPES[tensor.dtype]
    expected = dtype.itemsize
    for extent in extents:
        expected *= extent
    data = tensor.data  # a copy each time it is asked for
    if len(data) != expected:
        raise InvalidInput(
            f"{field} has {len(data)} bytes; shape {list(extents)} of {_name(tensor.dtype)} takes {expected}",
            field=field,
            reason="WRONG_SIZE",
        )
    array = np.frombuffer(data if shared else bytearray(data), dtype).reshape(extents)
    if tensor.dtype == pb.DATA_TYPE_BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def read_embeddings(tensor: pb.Tensor, field: str, dimension: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings as float32 [n, dimension], finite and not zero, read-only; and their lengths [n].

    Raises:
        InvalidInput: also where a row has NaN or infinity, is zero, or is too short or long for float32 arithmetic.
    """
    values = read(tensor, field, FLOATS, (None, dimension), shared=True)
    rows: NDArray[np.float32] = values.astype(np.float32, copy=False)
    lengths = lengths_of(rows)
    bad = np.flatnonzero(~((lengths > 1e-15) & (lengths < 1e15)))
    if bad.size:
        index = int(bad[0])
        row = rows[index]
        wrong = np.flatnonzero(~np.isfinite(row))
        if wrong.size:
            raise InvalidInput(
                f"{field}[{index}, {wrong[0]}] is {row[wrong[0]]}; expected finite values",
                field=field,
                reason="NOT_FINITE",
            )
        length = float(np.linalg.norm(row.astype(np.float64)))
        what = "a zero vector" if length == 0 else f"of length {length:g}"
        raise InvalidInput(
            f"{field}[{index}] is {what}; expected a length from 1e-15 to 1e15", field=field, reason="BAD_LENGTH"
        )
    return rows, lengths


def read_floats(tensor: pb.Tensor, field: str, shape: Shape, *, allow_nan: bool) -> NDArray[np.float32]:
    """float32 values, finite, or NaN where that means "none"."""
    values = read(tensor, field, (pb.DATA_TYPE_FLOAT32,), shape)
    bad = np.flatnonzero(np.isinf(values) if allow_nan else ~np.isfinite(values))
    if bad.size:
        index = int(bad[0])
        raise InvalidInput(
            f"{field}[{index}] is {values.reshape(-1)[index]}; expected a finite value",
            field=field,
            reason="NOT_FINITE",
        )
    return values


def read_lengths(tensor: pb.Tensor, field: str, rows: int, *, zero: bool = False) -> NDArray[np.float32]:
    """float32 values [rows], finite and above zero, or zero too where that is allowed."""
    values = read_floats(tensor, field, (rows,), allow_nan=False)
    bad = np.flatnonzero(values < 0 if zero else values <= 0)
    if bad.size:
        raise InvalidInput(
            f"{field}[{bad[0]}] is {values[bad[0]]}; expected {'at least' if zero else 'above'} 0",
            field=field,
            reason="OUT_OF_RANGE",
        )
    return values


def read_ids(tensor: pb.Tensor, field: str, rows: int | None, *, lowest: int = 0) -> NDArray[np.int64]:
    """int64 ids [rows], each at least `lowest`."""
    ids: NDArray[np.int64] = read(tensor, field, (pb.DATA_TYPE_INT64,), (rows,))
    bad = np.flatnonzero(ids < lowest)
    if bad.size:
        raise InvalidInput(
            f"{field}[{bad[0]}] is {ids[bad[0]]}; expected at least {lowest}", field=field, reason="OUT_OF_RANGE"
        )
    return ids


def read_unique_ids(tensor: pb.Tensor, field: str) -> NDArray[np.int64]:
    """int64 ids [n], at least 0, none twice."""
    ids = read_ids(tensor, field, None)
    ordered = np.sort(ids)
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        repeated = ordered[twice[0]]
        at = np.flatnonzero(ids == repeated)
        raise InvalidInput(
            f"{field} holds {repeated} twice, at {at[0]} and {at[1]}; expected unique ids",
            field=field,
            reason="DUPLICATE_ID",
        )
    return ids


def _name(dtype: int) -> str:
    return pb.DataType.Name(dtype).removeprefix("DATA_TYPE_").lower() if dtype in pb.DataType.values() else str(dtype)
