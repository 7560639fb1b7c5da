"""Texts and images of items, from a file beside the embeddings: looked up by id, to show to a person."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Annotated, Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
import typer

from negmine.cli.anchor_sample import shown_ids
from negmine.cli.mistakes import Mistake
from negmine.cli.sources import reading

_PANEL: Final = "Texts and images to show"
_IMAGE_TYPES: Final = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".svg": "image/svg+xml",
}
_Row: TypeAlias = tuple[str, Mapping[str, Any]]  # where it stands, and its columns


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person sees of an item.

    Attributes:
        text: of the item; None where texts are not shown.
        image: as a data URI, so that a page needs no other file; None where images are not shown.
    """

    text: str | None = None
    image: str | None = None


@dataclass(frozen=True, slots=True)
class SidecarOptions:
    """Where texts and images are found."""

    sidecar: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Texts or images by id: .tsv, .csv (both with a header, .gz too), .jsonl or .parquet.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    query_sidecar: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="With --queries: the same for the anchors.", rich_help_panel=_PANEL),
    ] = None
    text_column: Annotated[
        str | None, typer.Option(help="Its texts. Unset: text, unless images are shown.", rich_help_panel=_PANEL)
    ] = None
    image_column: Annotated[
        str | None, typer.Option(help="Its paths of images, from the file's folder.", rich_help_panel=_PANEL)
    ] = None
    sidecar_id_column: Annotated[str, typer.Option(help="Its ids.", rich_help_panel=_PANEL)] = "id"

    def check(self, queries: bool) -> None:
        """Raises Mistake where the options do not go together."""
        named = {"--text-column": self.text_column, "--image-column": self.image_column}
        named["--query-sidecar"] = self.query_sidecar
        for option, value in named.items():
            if value is not None and self.sidecar is None:
                raise Mistake(f"{option} is {value!r} without --sidecar, the file with texts or images")
        if self.query_sidecar is not None and not queries:
            raise Mistake("--query-sidecar belongs to --queries; other anchors are items, and stand in --sidecar")

    def of_items(self, ids: Iterable[int]) -> dict[int, Shown]:
        """What is shown of items; nothing without a sidecar."""
        return self._read(self.sidecar, ids) if self.sidecar is not None else {}

    def of_queries(self, ids: Iterable[int]) -> dict[int, Shown]:
        """What is shown of anchors that are not items."""
        return self._read(self.query_sidecar, ids) if self.query_sidecar is not None else {}

    def _read(self, path: str, ids: Iterable[int]) -> dict[int, Shown]:
        text = self.text_column if self.text_column or self.image_column else "text"
        return read_sidecar(path, set(ids), id_column=self.sidecar_id_column, text=text, image=self.image_column)


def read_sidecar(path: str, ids: set[int], *, id_column: str, text: str | None, image: str | None) -> dict[int, Shown]:
    """What is shown of the items `ids`, each of which must be there.

    Args:
        path: of the file; its ending says how it is read.
        ids: of the items.
        id_column: its ids.
        text: its texts; None = not shown.
        image: its paths of images, absolute or from the file's folder; None = not shown.

    Raises:
        Mistake: the file, a column, an item, its text or its image cannot be had.
    """
    columns = [name for name in (id_column, text, image) if name is not None]
    found: dict[int, Shown] = {}
    for place, row in _rows(path, columns):
        id_ = _id(row[id_column], place, id_column)
        if id_ not in ids:
            continue
        if id_ in found:
            raise Mistake(f"{place}: id {id_} stands there twice")
        shown = None if text is None else _text(row[text], place, text)
        found[id_] = Shown(shown, None if image is None else _data_uri(path, row[image], place, image))
    missing = sorted(ids - set(found))
    if missing:
        raise Mistake(f"{path}: {shown_ids(missing)} not in the column {id_column!r}")
    return found


def _rows(path: str, columns: list[str]) -> Iterator[_Row]:
    """The file's rows, by its ending; what is wrong with the file is a mistake that names it."""
    read = _reader(path)
    try:
        with reading(path):
            yield from read(path, columns)
    except (pa.ArrowException, UnicodeDecodeError, csv.Error, EOFError) as wrong:
        raise Mistake(f"{path} cannot be read: {str(wrong).splitlines()[0]}") from wrong


def _reader(path: str) -> Callable[[str, list[str]], Iterator[_Row]]:
    name = Path(path).name.lower()
    ending = Path(name.removesuffix(".gz")).suffix
    if ending in {".tsv", ".csv"}:
        return partial(_separated, tabs=ending == ".tsv")
    if ending in {".jsonl", ".ndjson"}:
        return _json_lines
    if ending in {".parquet", ".pq"} and not name.endswith(".gz"):
        return _parquet
    raise Mistake(f"{path} ends in {Path(path).suffix or 'nothing'!r}; expected .tsv, .csv, .jsonl or .parquet")


@contextmanager
def _opened(path: str) -> Iterator[IO[str]]:
    with Path(path).open("rb") as raw, gzip.open(raw) if path.lower().endswith(".gz") else raw as stream:
        yield io.TextIOWrapper(stream, encoding="utf-8", newline="")


def _separated(path: str, columns: list[str], tabs: bool) -> Iterator[_Row]:
    """A header line and one line a row; in .tsv nothing is quoted."""
    csv.field_size_limit(1 << 30)
    with _opened(path) as stream:
        lines = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(stream)
        header = next(lines, [])
        _require(columns, header, path)
        for fields in lines:
            if not fields:
                continue
            place = f"{path}, line {lines.line_num}"
            if len(fields) != len(header):
                raise Mistake(f"{place} has {len(fields)} columns; expected {len(header)} as in the header")
            yield place, dict(zip(header, fields, strict=True))


def _json_lines(path: str, columns: list[str]) -> Iterator[_Row]:
    with _opened(path) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            place = f"{path}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as wrong:
                raise Mistake(f"{place}: not JSON: {wrong}") from wrong
            if not isinstance(row, dict):
                raise Mistake(f"{place}: {line.strip()[:40]} is not an object with columns")
            _require(columns, list(row), place)
            yield place, row


def _parquet(path: str, columns: list[str]) -> Iterator[_Row]:
    with pq.ParquetFile(path) as file:
        _require(columns, file.schema_arrow.names, path)
        number = 0
        for batch in file.iter_batches(columns=sorted(set(columns))):
            for row in batch.to_pylist():
                yield f"{path}, row {number}", row
                number += 1


def _require(columns: list[str], present: list[str], place: str) -> None:
    for name in columns:
        if name not in present:
            raise Mistake(
                f"{place} has no column {name!r}; it has {', '.join(present) or 'none'}: "
                "--text-column, --image-column and --sidecar-id-column name others"
            )


def _id(value: object, place: str, column: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal():
        return int(value)
    raise Mistake(f"{place}: {column} is {str(value)[:40]!r}; expected an integer id")


def _text(value: object, place: str, column: str) -> str:
    if value is None or isinstance(value, bytes | list | dict):
        raise Mistake(f"{place}: {column} is {str(value)[:40]!r}; expected a text")
    return str(value)


def _data_uri(path: str, value: object, place: str, column: str) -> str:
    if not isinstance(value, str) or not value:
        raise Mistake(f"{place}: {column} is {str(value)[:40]!r}; expected the path of an image")
    image = Path(path).parent / value
    kind = _IMAGE_TYPES.get(image.suffix.lower())
    if kind is None:
        known = ", ".join(_IMAGE_TYPES)
        raise Mistake(f"{place}: the image {value} ends in {image.suffix or 'nothing'!r}; expected one of {known}")
    try:
        content = image.read_bytes()
    except OSError as wrong:
        raise Mistake(f"{place}: the image {image} cannot be read: {wrong.strerror or wrong}") from wrong
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
