"""Reads JSON lines, one object a line, from a file or stdin."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from negmine.cli.mistakes import Mistake
from negmine.cli.rows import Ragged, Rows, chunk_rows, find_columns

STDIN_NAME: Final = "stdin"  # in messages; no file is called so, for want of an ending

_Line = tuple[int, dict[str, Any]]  # its number from 1, and what it holds


class JsonLines:
    """One object a line: an embedding as a list of numbers, ids and groups as integers, positives as an id or a list.

    The first line decides which columns there are. Blank lines are skipped.
    """

    def __init__(self, path: str, stream: IO[bytes], named: dict[str, str | None]) -> None:
        self.path = path
        self._stream = stream
        self._bytes_read = 0
        self._rows_read = 0
        self._lines = self._parse()
        first = next(self._lines, None)
        self._first = first
        self._dimension = 0
        self._columns: dict[str, str] = {}
        if first is not None:
            self._columns = find_columns(named, list(first[1]), path)
            embedding = first[1][self._columns["embedding"]]
            if not isinstance(embedding, list) or not embedding:
                raise Mistake(
                    f"{path}, line {first[0]}: the embedding is {_shown(embedding)}; expected a list of numbers"
                )
            self._dimension = len(embedding)

    @property
    def roles(self) -> dict[str, str]:
        """Name of the column of each role."""
        return dict(self._columns)

    @property
    def ignored(self) -> list[str]:
        """Names of the first line's columns that are not read."""
        used = set(self._columns.values())
        return [name for name in (self._first[1] if self._first else ()) if name not in used]

    def dimension(self) -> int:
        """Length of the first embedding; 0 where there are no lines."""
        return self._dimension

    def rows_total(self) -> int | None:
        """An estimate from the size of the file and of the lines so far; None for a pipe."""
        if not self._rows_read or not self._stream.seekable():
            return None
        size = os.fstat(self._stream.fileno()).st_size
        return round(size / self._bytes_read * self._rows_read)

    def chunks(self) -> Iterator[Rows]:
        """Its rows; once."""
        if self._first is None:
            return
        lines = itertools.chain([self._first], self._lines)
        while part := list(itertools.islice(lines, min(4096, chunk_rows(self._dimension)))):
            yield self._rows(part)

    def _parse(self) -> Iterator[_Line]:
        for number, line in enumerate(self._stream, 1):
            self._bytes_read += len(line)
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as wrong:
                raise Mistake(f"{self.path}, line {number}: not JSON: {wrong}{self._expected}") from wrong
            if not isinstance(value, dict):
                raise Mistake(
                    f"{self.path}, line {number}: {_shown(value)} is not an object with columns{self._expected}"
                )
            self._rows_read += 1
            yield number, value

    @property
    def _expected(self) -> str:
        return "" if self.path != STDIN_NAME else "; stdin is read as JSON lines, other files are given by their names"

    def _rows(self, lines: list[_Line]) -> Rows:
        return Rows(
            self.path,
            np.array([number for number, _ in lines], np.int64),
            "line",
            np.stack([self._embedding(number, value) for number, value in lines]),
            ids=self._integers(lines, "id", fill=None),
            groups=self._integers(lines, "group", fill=-1),
            tags=self._integers(lines, "tags", fill=0),
            uncertainties=self._uncertainties(lines),
            positives=self._positives(lines),
        )

    def _embedding(self, number: int, value: dict[str, Any]) -> NDArray[np.float32]:
        given = value.get(self._columns["embedding"])
        try:
            row = np.array(given)
        except ValueError:  # lists within the list
            row = np.empty(0, object)
        if row.ndim != 1 or row.dtype.kind not in "fiu":
            raise Mistake(f"{self.path}, line {number}: the embedding is {_shown(given)}; expected a list of numbers")
        if len(row) != self._dimension:
            raise Mistake(
                f"{self.path}, line {number}: the embedding has {len(row)} values; expected {self._dimension} as before"
            )
        with np.errstate(over="ignore"):  # a value beyond float32 becomes infinity, which is refused with its line
            return row.astype(np.float32)

    def _integers(self, lines: list[_Line], role: str, fill: int | None) -> NDArray[Any] | None:
        column = self._columns.get(role)
        if column is None:
            return None
        kind = np.uint64 if role == "tags" else np.int64
        bounds = np.iinfo(kind)
        values = []
        for number, line in lines:
            value = line.get(column)
            if value is None and fill is not None:
                value = fill
            if not isinstance(value, int) or isinstance(value, bool) or not bounds.min <= value <= bounds.max:
                raise Mistake(f"{self.path}, line {number}: {column} is {_shown(value)}; expected an integer")
            values.append(value)
        return np.array(values, kind)

    def _uncertainties(self, lines: list[_Line]) -> NDArray[np.float32] | None:
        column = self._columns.get("uncertainty")
        if column is None:
            return None
        values = []
        for number, line in lines:
            value = line.get(column)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise Mistake(f"{self.path}, line {number}: {column} is {_shown(value)}; expected a number")
            values.append(float("nan") if value is None else value)
        return np.array(values, np.float32)

    def _positives(self, lines: list[_Line]) -> Ragged | None:
        column = self._columns.get("positives")
        if column is None:
            return None
        offsets, values = [0], []
        highest = np.iinfo(np.int64).max
        for number, line in lines:
            value = line.get(column)
            listed = [] if value is None else value if isinstance(value, list) else [value]
            if not all(_is_integer(one) and 0 <= one <= highest for one in listed):
                raise Mistake(
                    f"{self.path}, line {number}: {column} is {_shown(value)}; expected an id, or a list of ids"
                )
            values += listed
            offsets.append(len(values))
        return np.array(offsets, np.int64), np.array(values, np.int64)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}…"
