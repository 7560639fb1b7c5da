"""Reads .npy by memory map, and .npz member by member: neither is ever in memory as a whole."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from negmine.cli.mistakes import Mistake
from negmine.cli.rows import I64, OPTION, Ragged, Rows, chunk_rows, find_columns

_OFFSETS: Final = "_offsets"  # of ragged positives in an .npz: values in `positives`, offsets in `positives_offsets`


class NpyFile:
    """One array [n, d] of embeddings; ids are row numbers."""

    def __init__(self, path: str, named: dict[str, str | None]) -> None:
        self.path = path
        asked = [OPTION[role] for role, name in named.items() if name is not None]
        if asked:
            raise Mistake(f"{path} is one array without columns, and {asked[0]} names one; expected an .npz file")
        self._array = load_array(Path(path), mmap_mode="r")
        check_embeddings(self._array.shape, self._array.dtype, path)

    @property
    def roles(self) -> dict[str, str]:
        """Name of the column of each role."""
        return {"embedding": "embedding"}

    @property
    def ignored(self) -> list[str]:
        """None: there are no columns."""
        return []

    def dimension(self) -> int:
        """Length of the embeddings."""
        return int(self._array.shape[1])

    def rows_total(self) -> int:
        """Rows of the array."""
        return len(self._array)

    def chunks(self) -> Iterator[Rows]:
        """Its rows, a copy of some at a time."""
        step = chunk_rows(self.dimension(), self._array.itemsize)
        for first in range(0, len(self._array), step):
            part = np.array(self._array[first : first + step])
            yield Rows(self.path, np.arange(first, first + len(part)), "row", part)


class NpzFile:
    """Arrays by name: embeddings [n, d], ids [n], positives [n], [n, p] padded with -1, or flat with offsets."""

    def __init__(self, path: str, named: dict[str, str | None]) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as wrong:
            raise Mistake(f"{path} is not an .npz file: {_first_line(wrong)}") from wrong
        present = [name.removesuffix(".npy") for name in self._zip.namelist()]
        self._columns = find_columns(named, present, path)
        self._offsets: I64 | None = None
        used = set(self._columns.values())
        positives = self._columns.get("positives")
        if positives is not None and positives + _OFFSETS in present:
            self._offsets = _Member(self._zip, positives + _OFFSETS, path).read_all()
            used.add(positives + _OFFSETS)
        self.ignored = [name for name in present if name not in used]
        embeddings = self._open("embedding")
        check_embeddings(embeddings.shape, embeddings.dtype, f"{path}, array {embeddings.name!r}")
        self._shape, self._item_bytes = embeddings.shape, embeddings.dtype.itemsize
        self._check_lengths()

    @property
    def roles(self) -> dict[str, str]:
        """Name of the column of each role."""
        return dict(self._columns)

    def dimension(self) -> int:
        """Length of the embeddings."""
        return self._shape[1]

    def rows_total(self) -> int:
        """Rows of the embeddings."""
        return self._shape[0]

    def chunks(self) -> Iterator[Rows]:
        """Its rows; every member is read forward in step."""
        open_ = {role: self._open(role) for role in self._columns}
        count = self._shape[0]
        step = chunk_rows(self._shape[1], self._item_bytes)
        for first in range(0, count, step):
            rows = slice(first, min(first + step, count))
            taken = {role: member.read(self._span(role, rows)) for role, member in open_.items()}
            yield Rows(
                self.path,
                np.arange(rows.start, rows.stop),
                "row",
                taken["embedding"],
                ids=taken.get("id"),
                groups=taken.get("group"),
                tags=taken.get("tags"),
                uncertainties=taken.get("uncertainty"),
                positives=self._ragged(taken["positives"], rows) if "positives" in taken else None,
            )

    def _open(self, role: str) -> _Member:
        return _Member(self._zip, self._columns[role], self.path)

    def _span(self, role: str, rows: slice) -> int:
        """Elements of the first axis that these rows take."""
        if role == "positives" and self._offsets is not None:
            return int(self._offsets[rows.stop] - self._offsets[rows.start])
        return int(rows.stop - rows.start)

    def _ragged(self, taken: NDArray[Any], rows: slice) -> Ragged:
        if taken.dtype.kind not in "iu":
            raise Mistake(f"{self.path}: positives have type {taken.dtype}; expected integers")
        if self._offsets is not None:
            offsets = self._offsets[rows.start : rows.stop + 1]
            return offsets - offsets[0], taken.astype(np.int64)
        return unpadded(taken.astype(np.int64))

    def _check_lengths(self) -> None:
        count = self._shape[0]
        for role, name in self._columns.items():
            shape = self._open(role).shape
            expected = count
            if role == "positives" and self._offsets is not None:
                held = self._offsets
                if len(held) != count + 1 or held[0] != 0 or (np.diff(held) < 0).any():
                    raise Mistake(f"{self.path}, array {name + _OFFSETS!r}: expected {count + 1} rising offsets from 0")
                expected = int(held[-1])
            if not shape or shape[0] != expected:
                raise Mistake(f"{self.path}, array {name!r} has shape {shape}; expected {expected} rows")


class _Member:
    """One array of an .npz, read forward."""

    def __init__(self, archive: zipfile.ZipFile, name: str, path: str) -> None:
        self.name = name
        self._place = f"{path}, array {name!r}"
        inside = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
        self._stream: IO[bytes] = archive.open(inside)
        try:
            version = npy.read_magic(self._stream)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            self.shape, fortran, self.dtype = header(self._stream)
        except ValueError as wrong:
            raise Mistake(f"{self._place} cannot be read: {_first_line(wrong)}") from wrong
        if fortran and len(self.shape) > 1:
            raise Mistake(f"{self._place} is stored column by column; save it with numpy.ascontiguousarray")
        if self.dtype.hasobject:
            raise Mistake(f"{self._place} holds Python objects; expected numbers")

    def read(self, count: int) -> NDArray[Any]:
        """The next `count` elements of the first axis."""
        shape = (count, *self.shape[1:])
        wanted = int(np.prod(shape)) * self.dtype.itemsize
        try:
            held = self._stream.read(wanted)
        except (zipfile.BadZipFile, EOFError) as wrong:
            raise Mistake(f"{self._place} is damaged: {_first_line(wrong)}") from wrong
        if len(held) != wanted:
            raise Mistake(f"{self._place} is cut short: {wanted - len(held)} bytes are missing")
        return np.frombuffer(held, self.dtype).reshape(shape)

    def read_all(self) -> I64:
        """All of it, as offsets."""
        if len(self.shape) != 1 or self.dtype.kind not in "iu":
            raise Mistake(f"{self._place} has type {self.dtype} and shape {self.shape}; expected integers [n + 1]")
        return self.read(self.shape[0]).astype(np.int64)


def check_embeddings(shape: tuple[int, ...], dtype: np.dtype[Any], place: str) -> None:
    """Whether an array can be embeddings [n, d].

    Raises:
        Mistake: it cannot.
    """
    if len(shape) != 2:
        raise Mistake(f"{place} has shape {shape}; expected [rows, dimension]")
    if dtype.kind != "f":
        raise Mistake(f"{place} has type {dtype}; expected float32, float16 or float64 embeddings")


def unpadded(values: I64) -> Ragged:
    """Ids [n] or [n, p], padded with -1, as ragged ids."""
    matrix = values.reshape(len(values), -1) if len(values) else values.reshape(0, 1)
    held = matrix != -1
    offsets = np.zeros(len(matrix) + 1, np.int64)
    np.cumsum(held.sum(axis=1), out=offsets[1:])
    return offsets, matrix[held]


def load_array(path: Path, mmap_mode: Literal["r"] | None = None) -> NDArray[Any]:
    """The array of an .npy file, in memory or mapped.

    Raises:
        Mistake: it is not one, or is cut short.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        if stream.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
            raise Mistake(f"{path} is not an .npy file: it does not begin as one")
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, EOFError) as wrong:
        raise Mistake(f"{path} cannot be read: {_first_line(wrong)}") from wrong
    return array


def read_id_array(path: Path) -> I64:
    """Ids [n] of an .npy file."""
    held = load_array(path)
    if held.ndim != 1 or held.dtype.kind not in "iu":
        raise Mistake(f"{path} has type {held.dtype} and shape {held.shape}; expected integers [n]")
    ids: I64 = held.astype(np.int64)
    return ids


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
