"""Named arrays as one safetensors container, without copying: https://github.com/huggingface/safetensors#format.

The library's own functions copy each array once or twice and drop the metadata on reading; a log record and a snapshot
part are read as views instead. Arrays lie in order of falling item size, so each starts at a multiple of its item size
when the container itself starts at a multiple of 8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_ALIGNMENT = 8
_HEADER_BYTES_MAX = 100_000_000  # the format's own bound


class Malformed(ValueError):
    """The bytes are no safetensors container. Internal to storage."""


def pack(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> list[memoryview]:
    """The container as buffers to be written one after the other; all but the first are views of the arrays."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    views: list[memoryview] = []
    offset = 0
    for name, array in sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + view.nbytes],
        }
        offset += view.nbytes
        if view.nbytes:
            views.append(view)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return [memoryview(len(text).to_bytes(8, "little") + text), *views]


def unpack(data: bytes | memoryview) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays (read-only views of `data` where that is read-only) and metadata. Raises Malformed."""
    try:
        size = int.from_bytes(data[:8], "little")
        if size > min(_HEADER_BYTES_MAX, len(data) - 8):
            raise Malformed(f"a header of {size} bytes in a container of {len(data)}")
        header = json.loads(bytes(data[8 : 8 + size]))
        metadata: dict[str, str] = header.pop("__metadata__", {})
        body = memoryview(data)[8 + size :]
        arrays: dict[str, NDArray[Any]] = {}
        for name, entry in header.items():
            dtype, shape = _DTYPES[entry["dtype"]], tuple(entry["shape"])
            start, end = entry["data_offsets"]
            if not 0 <= start <= end <= len(body) or end - start != dtype.itemsize * int(np.prod(shape, dtype=object)):
                raise Malformed(f"array {name!r}: shape {shape} of {dtype} at bytes {start} to {end} of {len(body)}")
            arrays[name] = np.ndarray(shape, dtype, buffer=body[start:end])
        return arrays, metadata
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise error if isinstance(error, Malformed) else Malformed(f"bad header: {error!r}") from error
