"""Arrays of callers to tensors of the wire and back: numpy, torch (only where the caller has it), lists."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from negmine._exceptions import Internal, InvalidInput
from negmine.v1 import types_pb2

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
F32 = NDArray[np.float32]

_WIRE: Final[dict[str, int]] = {
    "float32": types_pb2.DATA_TYPE_FLOAT32,
    "float16": types_pb2.DATA_TYPE_FLOAT16,
    "int8": types_pb2.DATA_TYPE_INT8,
    "int32": types_pb2.DATA_TYPE_INT32,
    "int64": types_pb2.DATA_TYPE_INT64,
    "uint8": types_pb2.DATA_TYPE_UINT8,
    "uint64": types_pb2.DATA_TYPE_UINT64,
}
_NUMPY: Final[dict[int, np.dtype[Any]]] = {code: np.dtype(name).newbyteorder("<") for name, code in _WIRE.items()}
_I64_MAX: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """Embeddings [n, d] ready for the wire: float32, float16, or the 16 bits of bfloat16 as uint16."""

    values: NDArray[Any]
    wire_type: int

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice) -> Embeddings:
        return Embeddings(self.values[rows], self.wire_type)

    @property
    def dimension(self) -> int:
        return int(self.values.shape[1])

    @property
    def row_bytes(self) -> int:
        return self.dimension * self.values.itemsize

    def tensor(self) -> types_pb2.Tensor:
        return _tensor(self.values, self.wire_type)

    def fill(self, message: types_pb2.Tensor) -> None:
        """Writes them into a message that travels: copying a finished tensor into one costs three copies more."""
        _fill(message, self.values, self.wire_type)


def is_torch(value: object) -> bool:
    """Whether it is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_array(value: object) -> bool:
    """Whether it is a numpy array or a torch tensor."""
    return isinstance(value, np.ndarray) or is_torch(value)


def device_of(value: Any) -> Any | None:
    """The torch device that answers go back to; None = answers are numpy arrays."""
    return value.device if is_torch(value) else None


def to_device(array: NDArray[Any], device: Any | None) -> Any:
    """The array as it is, or as a torch tensor on the device."""
    return array if device is None else sys.modules["torch"].from_numpy(array).to(device)


def to_embeddings(value: Any, field: str) -> Embeddings:
    """Embeddings [n, d]; float64 becomes float32, bfloat16 stays as it is.

    Raises:
        InvalidInput: not two axes, or not a floating-point type.
    """
    array, brain = _numpy(value)
    if array.ndim != 2:
        raise InvalidInput(f"{field} has shape {array.shape}; expected [n, dimension]", field=field)
    if brain:
        return Embeddings(array, types_pb2.DATA_TYPE_BFLOAT16)
    if array.dtype.kind != "f":
        raise InvalidInput(
            f"{field} has dtype {array.dtype}; expected float32, float16, bfloat16 or float64", field=field
        )
    if array.dtype.type is np.float16:  # whatever its byte order
        return Embeddings(array, types_pb2.DATA_TYPE_FLOAT16)
    return Embeddings(array.astype(np.float32, copy=False), types_pb2.DATA_TYPE_FLOAT32)


def to_float32(value: Any, field: str, dimension: int) -> F32:
    """Embeddings [n, dimension] in float32, checked to be finite and not zero.

    Raises:
        InvalidInput: another shape or type, or a row that is zero or not finite.
    """
    made = to_embeddings(value, field)
    if made.dimension != dimension:
        raise InvalidInput(f"{field} has dimension {made.dimension}; expected {dimension}", field=field)
    rows: F32 = made.values.astype(np.float32, copy=False)
    if made.wire_type == types_pb2.DATA_TYPE_BFLOAT16:
        rows = (made.values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    wrong = np.flatnonzero(~(np.isfinite(rows).all(axis=1) & rows.any(axis=1)))
    if wrong.size:
        raise InvalidInput(f"{field}[{wrong[0]}] is zero or not finite", field=field)
    return np.ascontiguousarray(rows)


def to_ids(value: Any, field: str, length: int | None = None) -> I64:
    """Integers [length] as int64; a single axis.

    Raises:
        InvalidInput: another length, not integers, or beyond int64.
    """
    return _vector(_integers(value, field), field, length)


def to_tags(value: Any, field: str, length: int) -> U64:
    """Tag bits [length] or one value for all, as uint64."""
    array, _ = _numpy(value)
    if not is_array(value) and array.dtype.kind == "f":  # numpy makes floats of a list with both sides of 2**63
        array = _from_objects(np.asarray(value, object))
    if array.dtype.kind not in "iu" or (array.dtype.kind == "i" and array.size and array.min() < 0):
        held = array.min() if array.dtype.kind == "i" else array.dtype
        raise InvalidInput(f"{field} holds {held}; expected integers from 0 to 2**64 - 1", field=field)
    if array.shape not in {(length,), (1,), ()}:
        raise InvalidInput(f"{field} has shape {array.shape}; expected [{length}] or one value", field=field)
    return np.atleast_1d(array).astype(np.uint64)


def _from_objects(values: NDArray[Any]) -> NDArray[Any]:
    """Python integers as uint64 where they fit; else as they are."""
    fits = all(isinstance(value, int) and 0 <= value < 1 << 64 for value in values.flat)
    return values.astype(np.uint64) if fits else values


def to_floats(value: Any, field: str, length: int) -> F32:
    """Floats [length] as float32."""
    array, brain = _numpy(value)
    if brain:
        array = (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if array.dtype.kind not in "fiu":
        raise InvalidInput(f"{field} has dtype {array.dtype}; expected floating point", field=field)
    return _vector(array.astype(np.float32), field, length)


def to_matrix(value: Any, field: str) -> I64:
    """Integers as int64, of any number of axes."""
    return _integers(value, field)


def tensor(array: NDArray[Any]) -> types_pb2.Tensor:
    """An array as it travels: row-major, little-endian."""
    return _tensor(array, _WIRE[array.dtype.name])


def fill(message: types_pb2.Tensor, array: NDArray[Any]) -> None:
    """Writes an array into a message that travels."""
    _fill(message, array, _WIRE[array.dtype.name])


def array(message: types_pb2.Tensor, dtype: str) -> NDArray[Any]:
    """A tensor of an answer, as an array of its own that may be written to.

    Raises:
        Internal: its type or size is not what the contract says.
    """
    wanted = _NUMPY[_WIRE[dtype]]
    shape = tuple(message.shape)
    data = message.data  # a copy each time it is asked for
    if message.dtype != _WIRE[dtype] or len(data) != wanted.itemsize * int(np.prod(shape)):
        raise Internal(
            f"the server sent a tensor of type {message.dtype}, shape {shape} and {len(data)} bytes; expected {dtype}"
        )
    return np.frombuffer(data, wanted).reshape(shape).astype(dtype)


def _tensor(values: NDArray[Any], wire_type: int) -> types_pb2.Tensor:
    message = types_pb2.Tensor()
    _fill(message, values, wire_type)
    return message


def _fill(message: types_pb2.Tensor, values: NDArray[Any], wire_type: int) -> None:
    message.dtype = wire_type  # type: ignore[assignment]
    message.shape.extend(values.shape)
    message.data = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()


def _numpy(value: Any) -> tuple[NDArray[Any], bool]:
    """The value as a numpy array, and whether that holds the bits of bfloat16 as uint16."""
    if is_torch(value):
        torch = sys.modules["torch"]
        held = value.detach().cpu()
        if held.dtype == torch.bfloat16:
            return held.contiguous().view(torch.int16).numpy().view(np.uint16), True
        return held.numpy(), False
    given = np.asarray(value)
    if given.dtype.name == "bfloat16":  # of ml_dtypes, which jax and tensorflow use
        return np.ascontiguousarray(given).view(np.uint16), True
    return given, False


def _integers(value: Any, field: str) -> I64:
    given, brain = _numpy(value)
    if given.size == 0 and not is_array(value):
        given = given.astype(np.int64)  # an empty list says nothing of its type
    if brain or given.dtype.kind not in "iu":
        raise InvalidInput(f"{field} has dtype {given.dtype}; expected integers", field=field)
    if given.dtype.type is np.uint64 and given.size and given.max() > _I64_MAX:
        raise InvalidInput(f"{field} holds {given.max()}; expected at most {_I64_MAX}", field=field)
    return given.astype(np.int64)


def _vector(given: NDArray[Any], field: str, length: int | None) -> NDArray[Any]:
    if given.ndim != 1 or (length is not None and len(given) != length):
        expected = "[n]" if length is None else f"[{length}]"
        raise InvalidInput(f"{field} has shape {given.shape}; expected {expected}", field=field)
    return given


def flatten(lists: Sequence[Any], field: str) -> tuple[I64, I64]:
    """Offsets [B + 1] and values of B lists of ids.

    Raises:
        InvalidInput: a list holds something else; the message names it.
    """
    if all(isinstance(ids, list | tuple) for ids in lists):  # 100 times faster than array by array
        values = np.asarray(list(chain.from_iterable(lists)))
        if values.ndim == 1 and (values.dtype.kind == "i" or not values.size):
            return _offsets([len(ids) for ids in lists]), values.astype(np.int64)
    parts = [to_ids(ids, f"{field}[{anchor}]") for anchor, ids in enumerate(lists)]
    return _offsets([len(ids) for ids in parts]), np.concatenate(parts) if parts else np.empty(0, np.int64)


def _offsets(lengths: list[int]) -> I64:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
