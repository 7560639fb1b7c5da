"""Snapshots: a set of array objects and a manifest, which is created last and makes the snapshot complete.

A snapshot lies under `prefix/snapshot/<sequence>-<unique>/`: `part-00000`, ... are safetensors containers, and
`manifest.json` names each with its size and CRC-32, beside the caller's own `meta`. What the arrays mean is the
caller's affair. A folder without a manifest is a snapshot in the making, or one that was never finished.
"""

from __future__ import annotations

import contextlib
import json
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from negmine_server.errors import DataLoss, NegmineError, NotReady
from negmine_server.storage import tensors
from negmine_server.storage.objects import Missing, ObjectInfo, Objects

SNAPSHOT_VERSION = 1

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Arrays = dict[str, NDArray[Any]]

_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    size: int  # bytes
    crc32: int


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """A complete snapshot. `sequence` is the last log sequence that it holds."""

    key: str  # the folder, without a slash at the end
    sequence: int
    meta: Mapping[str, JSON]
    contents: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.contents)


@dataclass(frozen=True, slots=True)
class Snapshot(SnapshotInfo):
    """A complete snapshot, to be read."""

    objects: Objects

    def parts(self) -> Iterator[Arrays]:
        """The parts in order, verified, one at a time; read-only arrays that share one buffer per part.

        Raises DataLoss naming the object that is missing or corrupt.
        """
        for part in self.contents:
            yield self._read(part)

    def _read(self, part: Part) -> Arrays:
        key = f"{self.key}/{part.name}"
        try:
            data = self.objects.get(key)
            if len(data) != part.size:
                raise DataLoss(f"{key}: {len(data)} bytes, the manifest says {part.size}")
            if zlib.crc32(data) != part.crc32:
                raise DataLoss(f"{key}: the checksum is wrong")
            return tensors.unpack(data)[0]
        except Missing:
            raise DataLoss(f"{key}: missing, though the manifest names it") from None
        except tensors.Malformed as error:
            raise DataLoss(f"{key}: {error}") from error


def write_snapshot(
    objects: Objects,
    prefix: str,
    sequence: int,
    parts: Iterable[Mapping[str, NDArray[Any]]],
    meta: Mapping[str, JSON],
) -> SnapshotInfo:
    """Writes the state after log record `sequence`; durable when it returns. Arrays are not copied.

    Raises StorageFull or StorageFailed, after removing what it wrote.
    """
    folder = f"{prefix}/snapshot/{sequence:020d}-{uuid.uuid4().hex[:12]}"
    written: list[Part] = []
    keys: list[str] = []
    try:
        for index, arrays in enumerate(parts):
            buffers = tensors.pack(arrays, {})
            part = Part(f"part-{index:05d}", sum(len(buffer) for buffer in buffers), _crc32(buffers))
            keys.append(f"{folder}/{part.name}")
            objects.create(keys[-1], buffers)
            written.append(part)
        info = SnapshotInfo(folder, sequence, dict(meta), tuple(written))
        keys.append(f"{folder}/{_MANIFEST}")
        objects.create(keys[-1], _encode_manifest(info))
    except BaseException:
        with contextlib.suppress(NegmineError):
            objects.delete(reversed(keys))
        raise
    return info


def latest_snapshot(objects: Objects, prefix: str) -> Snapshot | None:
    """The newest complete snapshot. Raises DataLoss for a corrupt manifest, NotReady for one of a newer format."""
    while True:
        folders = [folder for folder, infos in _folders(objects, prefix).items() if _complete(infos)]
        if not folders:
            return None
        newest = max(folders)
        try:
            data = objects.get(f"{newest}/{_MANIFEST}")
        except Missing:  # pruned since, behind a newer one
            continue
        info = _decode_manifest(data, newest)
        return Snapshot(info.key, info.sequence, info.meta, info.contents, objects)


def prune(objects: Objects, prefix: str, keep: int = 2) -> int:
    """Deletes all complete snapshots but the newest `keep`, and incomplete ones older than the newest complete one.

    A newer incomplete one may be in the making, by another owner too. Returns the number of objects deleted.
    """
    assert keep >= 1, f"keep {keep}"
    folders = _folders(objects, prefix)
    complete = sorted(folder for folder, infos in folders.items() if _complete(infos))
    if not complete:
        return 0
    incomplete = {folder for folder, infos in folders.items() if not _complete(infos)}
    newest = _sequence_name(complete[-1])
    doomed = set(complete[:-keep]) | {folder for folder in incomplete if _sequence_name(folder) < newest}
    manifests = [f"{folder}/{_MANIFEST}" for folder in sorted(doomed - incomplete)]
    objects.delete(manifests)  # first: without it, what is left of the snapshot is not read
    rest = [info.key for folder in sorted(doomed) for info in folders[folder] if info.key not in manifests]
    objects.delete(rest)
    return len(manifests) + len(rest)


def _folders(objects: Objects, prefix: str) -> dict[str, list[ObjectInfo]]:
    folders: dict[str, list[ObjectInfo]] = {}
    for info in objects.list(f"{prefix}/snapshot/"):
        folders.setdefault(info.key.rpartition("/")[0], []).append(info)
    return folders


def _sequence_name(folder: str) -> str:
    return folder.rpartition("/")[2].partition("-")[0]


def _complete(infos: list[ObjectInfo]) -> bool:
    return any(info.key.endswith(f"/{_MANIFEST}") for info in infos)


def _crc32(buffers: Iterable[memoryview]) -> int:
    crc = 0
    for buffer in buffers:
        crc = zlib.crc32(buffer, crc)
    return crc


def _encode_manifest(info: SnapshotInfo) -> bytes:
    body = {
        "sequence": info.sequence,
        "parts": [{"name": part.name, "size": part.size, "crc32": part.crc32} for part in info.contents],
        "meta": dict(info.meta),
    }
    crc = zlib.crc32(_canonical(body))
    return json.dumps({"format": SNAPSHOT_VERSION, "crc32": crc, "body": body}, indent=1).encode()


def _decode_manifest(data: bytes, folder: str) -> SnapshotInfo:
    key = f"{folder}/{_MANIFEST}"
    try:
        manifest = json.loads(data)
        if manifest["format"] > SNAPSHOT_VERSION:
            raise NotReady(
                f"{key}: format version {manifest['format']}, this server reads up to {SNAPSHOT_VERSION}: "
                "run the newer server",
                reason="NEWER_FORMAT",
            )
        body = manifest["body"]
        if zlib.crc32(_canonical(body)) != manifest["crc32"]:
            raise DataLoss(f"{key}: the checksum is wrong")
        parts = tuple(Part(part["name"], part["size"], part["crc32"]) for part in body["parts"])
        return SnapshotInfo(folder, body["sequence"], body["meta"], parts)
    except (ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"{key}: the manifest is unreadable: {error!r}") from error


def _canonical(body: Any) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
