"""What a log object holds: the frame around records, and the batch inside a record.

Frame, little-endian: a 48-byte header (magic, format version, kind, record count, sequence, writer token, length of
the whole object, CRC-32 of the header), then the records, each (length u32, CRC-32 u32, payload, zeros up to a
multiple of 8, so that arrays inside stay aligned). A frame shorter than its header says is *torn*; any other
disagreement is *corrupt*. A batch is one safetensors container: arrays under the names of `domain.Batch`, and
writer, number, time and format version as metadata.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import Batch
from negmine_server.errors import DataLoss, NotReady
from negmine_server.storage import tensors
from negmine_server.storage.objects import Buffer

FRAME_VERSION = 1
BATCH_VERSION = 1
TOKEN_BYTES = 16

_MAGIC = b"NGML"
# magic, version, kind, records, CRC-32 of the header with this field zero, sequence, token, length of the object
_HEADER = struct.Struct("<4sHHIIQ16sQ")
_CRC_OFFSET = 12
_RECORD = struct.Struct("<II")
_ALIGNMENT = 8
_RECORD_BYTES_MAX = (1 << 32) - 1

_VECTOR_DTYPES = frozenset({np.dtype(np.int8), np.dtype(np.float16), np.dtype(np.float32)})
_COLUMNS: dict[str, tuple[type, int]] = {  # dtype and dimensions; `vectors` has a choice of dtypes
    "ids": (np.int64, 1),
    "versions": (np.int64, 1),
    "codes": (np.uint64, 2),
    "corrections": (np.float32, 1),
    "norms": (np.float32, 1),
    "groups": (np.int64, 1),
    "tags": (np.uint64, 1),
    "uncertainties": (np.float32, 1),
    "vectors": (np.generic, 2),
    "scales": (np.float32, 1),
}


class Kind(IntEnum):
    DATA = 1
    FENCE = 2
    TRIM = 3


class Unreadable(Exception):
    """A frame that cannot be used. Internal to storage."""


class Torn(Unreadable):
    """The frame is shorter than it says, or than a header: its writing did not finish."""


class Corrupt(Unreadable):
    """The frame is whole, and its bytes are wrong."""


@dataclass(frozen=True, slots=True)
class Frame:
    kind: Kind
    sequence: int
    token: bytes
    payloads: list[memoryview]


def encode_frame(kind: Kind, sequence: int, token: bytes, payloads: Sequence[Buffer]) -> list[Buffer]:
    """The object as buffers to be written one after the other; payloads are not copied."""
    assert len(token) == TOKEN_BYTES, f"token of {len(token)} bytes"
    body: list[Buffer] = []
    length = _HEADER.size
    for payload in payloads:
        size = memoryview(payload).nbytes
        assert size <= _RECORD_BYTES_MAX, f"record of {size} bytes"  # message limits are far below
        padding = -size % _ALIGNMENT
        body += [_RECORD.pack(size, zlib.crc32(payload)), payload, bytes(padding)]
        length += _RECORD.size + size + padding
    header = bytearray(_HEADER.pack(_MAGIC, FRAME_VERSION, kind, len(payloads), 0, sequence, token, length))
    struct.pack_into("<I", header, _CRC_OFFSET, zlib.crc32(header))
    return [bytes(header), *body]


def decode_frame(data: bytes, key: str) -> Frame:
    """Checks and splits an object; payloads are views of `data`.

    Raises Torn or Corrupt, and NotReady when a newer version of the format wrote it. `key` names it in messages.
    """
    if len(data) < _HEADER.size:
        raise Torn(f"{key}: {len(data)} bytes, a header has {_HEADER.size}")
    magic, version, kind, count, crc, sequence, token, length = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise Corrupt(f"{key}: starts with {magic!r}, expected {_MAGIC!r}")
    if version > FRAME_VERSION:
        raise NotReady(
            f"{key}: format version {version}, this server reads up to {FRAME_VERSION}: run the newer server",
            reason="NEWER_FORMAT",
        )
    header = bytearray(data[: _HEADER.size])
    struct.pack_into("<I", header, _CRC_OFFSET, 0)
    if zlib.crc32(header) != crc or kind not in Kind.__members__.values():
        raise Corrupt(f"{key}: the header's checksum is wrong")
    if len(data) < length:
        raise Torn(f"{key}: {len(data)} of {length} bytes")
    if len(data) > length:
        raise Corrupt(f"{key}: {len(data)} bytes, expected {length}")
    return Frame(Kind(kind), sequence, token, _split(memoryview(data)[_HEADER.size :], count, key))


def _split(body: memoryview, count: int, key: str) -> list[memoryview]:
    payloads = []
    offset = 0
    for index in range(count):
        if offset + _RECORD.size > len(body):
            raise Corrupt(f"{key}: record {index} of {count} is not there")
        size, crc = _RECORD.unpack_from(body, offset)
        offset += _RECORD.size
        payload = body[offset : offset + size]
        if len(payload) != size or zlib.crc32(payload) != crc:
            raise Corrupt(f"{key}: the checksum of record {index} of {count} is wrong")
        payloads.append(payload)
        padding = -size % _ALIGNMENT
        if any(body[offset + size : offset + size + padding]):
            raise Corrupt(f"{key}: the padding after record {index} of {count} is not zero")
        offset += size + padding
    if offset != len(body):
        raise Corrupt(f"{key}: {len(body) - offset} bytes after record {count}")
    return payloads


def encode_batch(batch: Batch) -> bytes:
    """One batch as a record's payload."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in _COLUMNS:
        array = getattr(batch, name)
        if array is not None:
            arrays[name] = array
    metadata = {
        "version": str(BATCH_VERSION),
        "writer": batch.writer,
        "number": str(batch.number),
        "time_ms": str(batch.time_ms),
    }
    return b"".join(tensors.pack(arrays, metadata))


def decode_batch(payload: bytes | memoryview) -> Batch:
    """The batch in a record's payload. Its arrays are views of `payload`: read-only, and they keep it alive.

    Raises NotReady for a newer version, DataLoss for anything that no server could have written.
    """
    try:
        arrays, metadata = tensors.unpack(payload)
        version = int(metadata["version"])
        if version > BATCH_VERSION:
            raise NotReady(
                f"batch format version {version}, this server reads up to {BATCH_VERSION}: run the newer server",
                reason="NEWER_FORMAT",
            )
        _check_columns(arrays)
        columns: dict[str, Any] = arrays
        return Batch(
            **columns,
            writer=metadata["writer"],
            number=int(metadata["number"]),
            time_ms=int(metadata["time_ms"]),
        )
    except (tensors.Malformed, KeyError, ValueError) as error:
        raise DataLoss(f"a batch in the log cannot be read: {error!r}") from error


def _check_columns(arrays: dict[str, NDArray[Any]]) -> None:
    rows = arrays["ids"].shape[:1]
    for name, array in arrays.items():
        dtype, dimensions = _COLUMNS[name]
        right = array.dtype in _VECTOR_DTYPES if name == "vectors" else array.dtype == dtype
        if not right or array.ndim != dimensions or array.shape[:1] != rows:
            raise tensors.Malformed(f"{name}: {array.dtype} of shape {array.shape} among {rows} rows")
    if "versions" not in arrays:
        raise tensors.Malformed("versions are missing")
