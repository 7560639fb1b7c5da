"""Opens the files that a command is given, by their endings, and reads them one after another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from negmine.cli.mistakes import Mistake
from negmine.cli.read_jsonl import STDIN_NAME, JsonLines
from negmine.cli.read_numpy import NpyFile, NpzFile, read_id_array
from negmine.cli.read_parquet import ParquetFile
from negmine.cli.rows import I64, Rows, Source, checked, told_of_ignored

STDIN: Final = "-"
_ENDINGS: Final[dict[str, Callable[[str, dict[str, str | None]], Source]]] = {
    ".npy": NpyFile,
    ".npz": NpzFile,
    ".parquet": ParquetFile,
    ".pq": ParquetFile,
}
_JSON_LINES: Final = {".jsonl", ".ndjson"}


class Sources:
    """Several files as one stream of rows, as a context manager.

    All are opened before the first row is read, so that a wrong name or column is said before anything is sent.

    Raises:
        Mistake: a file is missing, cannot be read, or has another dimension than the first.
    """

    def __init__(self, paths: Sequence[str], named: dict[str, str | None], first_id: int = 0) -> None:
        if paths.count(STDIN) > 1:
            raise Mistake("- (stdin) is given twice; it can be read once")
        self._first_id = first_id
        self._named = named
        with ExitStack() as stack:
            self._sources = [open_source(path, named, stack) for path in paths]
            self._stack = stack.pop_all()
        self.dimension = 0
        for source in self._sources:
            found = source.dimension()
            if found and self.dimension and found != self.dimension:
                first = next(held.path for held in self._sources if held.dimension())
                self._stack.close()
                raise Mistake(
                    f"{source.path} has dimension {found}, and {first} has {self.dimension}; expected the same"
                )
            self.dimension = self.dimension or found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def has(self, role: str) -> bool:
        """Whether a file has a column for this: id, group, tags, uncertainty or positives."""
        return any(role in source.roles for source in self._sources)

    def ignored(self) -> list[str]:
        """A line for a person on the columns that are not read; none where all are, one for all files of a kind."""
        told: dict[str, str] = {}
        for source in self._sources:
            if source.ignored:
                told.setdefault(told_of_ignored(source.roles, source.ignored, self._named), source.path)
        if len(self._sources) == 1:
            return list(told)
        return [f"{path}: {line}" for line, path in told.items()]

    @property
    def empty(self) -> bool:
        """Whether there is no row at all, as far as the files say."""
        return not self.dimension or self.rows_total() == 0

    def rows_total(self) -> int | None:
        """Rows of all files, as far as they say; None where one does not."""
        totals = [source.rows_total() for source in self._sources]
        known = [total for total in totals if total is not None]
        return sum(known) if len(known) == len(totals) else None

    def chunks(self) -> Iterator[Rows]:
        """Checked rows, each with an id: the file's own, or the row's number over all files."""
        number = self._first_id
        for source in self._sources:
            for rows in checked(source.chunks(), self.dimension):
                ids = rows.ids if rows.ids is not None else np.arange(number, number + len(rows))
                number += len(rows)
                yield replace(rows, ids=ids)


def open_source(path: str, named: dict[str, str | None], stack: ExitStack) -> Source:
    """A file of rows, by its ending; - is JSON lines on stdin."""
    if path == STDIN:
        return JsonLines(STDIN_NAME, sys.stdin.buffer, named)
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS and ending not in _JSON_LINES:
        raise Mistake(
            f"{path} ends in {ending or 'nothing'!r}; expected .npy, .npz, .parquet or .jsonl, or - for stdin"
        )
    with reading(path):
        if ending in _JSON_LINES:
            return JsonLines(path, stack.enter_context(Path(path).open("rb")), named)
        return _ENDINGS[ending](path, named)


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Turns what the operating system says of a file into a mistake that names it."""
    try:
        yield
    except OSError as wrong:
        raise Mistake(f"{path} cannot be read: {wrong.strerror or wrong}") from wrong


def read_ids(numbers: Sequence[int], path: str | None) -> I64:
    """Ids given as arguments, or in a file: .npy, or text with one a line; - is stdin.

    Raises:
        Mistake: both or none are given, or something is not an id.
    """
    if bool(numbers) == (path is not None):
        raise Mistake("expected ids as arguments, or --ids-file with a file of them, and not both")
    if path is None:
        return np.array(numbers, np.int64)
    with reading(path):
        if path != STDIN and Path(path).suffix.lower() == ".npy":
            return read_id_array(Path(path))
        text = sys.stdin.read() if path == STDIN else Path(path).read_text(encoding="utf-8")
    ids = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if not line.strip().isascii() or not line.strip().isdecimal():
            raise Mistake(f"{path}, line {number}: {line.strip()[:40]!r} is not an id; expected an integer from 0")
        ids.append(int(line))
    if not ids:
        raise Mistake(f"{path} holds no ids; expected one a line")
    return np.array(ids, np.int64)
