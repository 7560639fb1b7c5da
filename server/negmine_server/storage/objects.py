"""Create-only object stores: the one seam under the log and the snapshots.

An object is immutable. `create` is put-if-absent, which is all the coordination the log needs; a local folder and the
conditional create of S3, GCS and Azure both offer it. Nothing here knows what the objects hold.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from negmine_server.errors import InvalidInput, NegmineError, StorageFailed, StorageFull

Buffer = bytes | bytearray | memoryview
Data = Buffer | Sequence[Buffer]

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_TMP = ".tmp"
_BUFFERS_PER_WRITE = 512  # below IOV_MAX, 1024 on Linux
_LINK_TRIES = 4  # a folder emptied by `delete` may vanish between mkdir and link


class Exists(Exception):
    """The key is taken. Internal to storage."""


class Missing(Exception):
    """No object has this key. Internal to storage."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectInfo:
    key: str
    size: int  # bytes


class Objects(Protocol):
    """A create-only store, safe to call from many threads. Keys are relative, `/`-separated paths.

    Every method may raise StorageFull (no room) or StorageFailed (any other failure, with the place it happened).
    """

    def create(self, key: str, data: Data) -> None:
        """Stores `data` (one buffer, or several that are joined) under `key`; durable when it returns.

        Raises Exists when the key is taken, whoever took it. After StorageFull the object is not there; after
        StorageFailed it may or may not be.
        """

    def get(self, key: str) -> bytes:
        """The whole object. Raises Missing."""

    def list(self, prefix: str) -> list[ObjectInfo]:
        """Objects whose key starts with `prefix`, sorted by key.

        Not a snapshot: what is created or deleted during the call may or may not be in the answer.
        """

    def delete(self, keys: Iterable[str]) -> None:
        """Removes the objects; a key that is not there is no error. Durable when it returns."""


def delete_all(objects: Objects, prefix: str) -> None:
    """Removes every object whose key starts with `prefix`."""
    objects.delete([item.key for item in objects.list(prefix)])


def buffers_of(data: Data) -> list[memoryview]:
    """`data` as a list of byte views."""
    parts = [data] if isinstance(data, (bytes, bytearray, memoryview)) else data
    return [view for part in parts if (view := memoryview(part)).nbytes]


class LocalObjects:
    """Objects as files under `root`: temporary file, fsync, link, fsync of the folder.

    `link` fails when the name is taken, whichever process took it; `rename` would overwrite. Temporary files lie in a
    folder of this instance under `root/.tmp`, guarded by a lock that dies with the process, so that a successor can
    tell leftovers of the dead from the work of the living, in other containers too.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root).absolute()
        self._durable_folders: set[Path] = set()
        self._count = itertools.count()
        try:
            (self._root / _TMP).mkdir(parents=True, exist_ok=True)
            _sync_folder(self._root.parent)
            self._tmp, self._claim = _claim_tmp_folder(self._root / _TMP)
        except OSError as error:
            raise storage_error(error, self._root) from error

    @property
    def scratch(self) -> Path:
        """A folder for files of this instance; what a crash leaves there, the next one removes."""
        return self._tmp

    def create(self, key: str, data: Data) -> None:
        path = self._path(key)
        if os.path.lexists(path):  # spares the writing; the link below decides
            raise Exists(key)
        tmp = self._tmp / f"{next(self._count)}-{threading.get_ident()}"
        try:
            _write_synced(tmp, buffers_of(data))
            self._link(tmp, path)
        except OSError as error:
            raise storage_error(error, path) from error
        finally:
            with contextlib.suppress(OSError):
                tmp.unlink(missing_ok=True)
        try:
            _sync_folder(path.parent)
        except OSError as error:  # the object is visible, but may be gone after a power cut: never StorageFull
            raise StorageFailed(f"{path}: the folder cannot be synced: {error.strerror}") from error

    def get(self, key: str) -> bytes:
        path = self._path(key)
        try:
            with path.open("rb", buffering=0) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(key) from None
        except OSError as error:
            raise storage_error(error, path) from error

    def list(self, prefix: str) -> list[ObjectInfo]:
        folder, _, _ = prefix.rpartition("/")
        start = self._path(folder) if folder else self._root
        try:
            return sorted(info for info in self._walk(start, f"{folder}/" if folder else "", prefix))
        except OSError as error:
            raise storage_error(error, start) from error

    def delete(self, keys: Iterable[str]) -> None:
        folders: set[Path] = set()
        path = self._root
        try:
            for key in keys:
                path = self._path(key)
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    folders.add(path.parent)
            for path in folders:
                with contextlib.suppress(FileNotFoundError):
                    _sync_folder(path)
                self._remove_empty(path)
        except OSError as error:
            raise storage_error(error, path) from error

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            expected = "a relative path whose parts are neither empty nor start with a dot"
            raise InvalidInput(f"object key {key!r}: expected {expected}", field="key", reason="BAD_KEY")
        return self._root.joinpath(*parts)

    def _walk(self, folder: Path, start: str, prefix: str) -> Iterator[ObjectInfo]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                key = start + entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if f"{key}/".startswith(prefix):
                        yield from self._walk(folder / entry.name, f"{key}/", prefix)
                elif key.startswith(prefix):
                    with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                        yield ObjectInfo(key, entry.stat().st_size)

    def _link(self, tmp: Path, path: Path) -> None:
        for attempt in range(_LINK_TRIES):
            try:
                self._make_folder(path.parent)
                os.link(tmp, path)
            except FileExistsError:
                raise Exists(str(path.relative_to(self._root))) from None
            except FileNotFoundError:
                self._durable_folders.discard(path.parent)
                if attempt == _LINK_TRIES - 1:
                    raise
            else:
                return

    def _make_folder(self, folder: Path) -> None:
        """Makes `folder` and makes its name durable; once per folder, since another process may have crashed before."""
        if folder in self._durable_folders or folder == self._root:
            return
        self._make_folder(folder.parent)
        try:
            folder.mkdir(exist_ok=True)
            _sync_folder(folder.parent)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, "a file is where a folder is needed", str(folder)) from None
        except FileNotFoundError:  # an emptied parent was removed meanwhile: make it again
            self._durable_folders.discard(folder.parent)
            raise
        self._durable_folders.add(folder)

    def _remove_empty(self, folder: Path) -> None:
        """Drops folders that a delete left empty, so that pruned snapshots leave nothing."""
        while folder != self._root:
            self._durable_folders.discard(folder)
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone
                return
            folder = folder.parent


def storage_error(error: OSError, path: Path) -> NegmineError:
    """What a caller is told of an error at a path."""
    if error.errno in _NO_ROOM:
        return StorageFull(f"{path}: no room: {error.strerror}")
    return StorageFailed(f"{path}: {error.strerror or error}")


def _write_synced(path: Path, buffers: list[memoryview]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        waiting = [buffer.cast("B") if buffer.ndim != 1 or buffer.itemsize != 1 else buffer for buffer in buffers]
        start = 0
        while start < len(waiting):
            written = os.writev(descriptor, waiting[start : start + _BUFFERS_PER_WRITE])
            while start < len(waiting) and written >= len(waiting[start]):
                written -= len(waiting[start])
                start += 1
            if written:
                waiting[start] = waiting[start][written:]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _claim_tmp_folder(parent: Path) -> tuple[Path, IO[bytes]]:
    """Removes temporary folders whose owner is dead, and makes one of our own with a lock that lives as long as we do.

    All of it under one lock: else a folder could be removed between its making and its locking.
    """
    with (parent / "lock").open("wb") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        for claim in parent.glob("*.claim"):
            with claim.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                shutil.rmtree(claim.with_suffix(""), ignore_errors=True)
                claim.unlink()
        folder = parent / uuid.uuid4().hex
        own = folder.with_suffix(".claim").open("wb")
        fcntl.flock(own, fcntl.LOCK_EX)
        folder.mkdir()
        return folder, own
