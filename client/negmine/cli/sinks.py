"""Where rows are written: a Parquet or JSON-lines file that appears when it is complete, or stdout."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import IO, Any, Final, Protocol, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from negmine.cli.mistakes import Mistake

Provenance: TypeAlias = dict[str, Any]

STDOUT: Final = "-"
METADATA_KEY: Final = b"negmine"  # of the provenance in a Parquet file
SIDECAR: Final = ".provenance.json"  # added to the name of a JSON-lines file
_GROUP_ROWS: Final = 131_072  # rows of a Parquet row group


class Sink(Protocol):
    """Takes record batches of one schema."""

    def write(self, batch: Any) -> None:
        """Adds rows."""
        ...

    def finish(self, provenance: Provenance) -> None:
        """Ends the output, and says where it comes from."""
        ...

    def discard(self) -> None:
        """Gives up; nothing is left behind. Harmless after `finish`."""
        ...


def open_sink(path: str, schema: Any) -> Sink:
    """A sink by the path's ending; - is JSON lines on stdout.

    Raises:
        Mistake: another ending, or a folder that cannot be written to.
    """
    if path == STDOUT:
        return StdoutSink()
    ending = Path(path).suffix.lower()
    kinds: dict[str, type[ParquetSink | JsonLinesSink]] = {
        ".parquet": ParquetSink,
        ".pq": ParquetSink,
        ".jsonl": JsonLinesSink,
        ".ndjson": JsonLinesSink,
    }
    if ending not in kinds:
        raise Mistake(f"{path} ends in {ending or 'nothing'!r}; expected .parquet or .jsonl, or - for stdout")
    if not Path(path).absolute().parent.is_dir():
        raise Mistake(f"{path} cannot be written: there is no folder {Path(path).absolute().parent}")
    try:
        return kinds[ending](Path(path), schema)
    except OSError as wrong:
        raise Mistake(f"{path} cannot be written: {wrong.strerror or wrong}") from wrong


class ParquetSink:
    """A Parquet file; the provenance is JSON in the file's metadata, under `negmine`."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._path = path
        self._unfinished = unfinished(path)
        self._schema = schema
        self._waiting: list[Any] = []
        self._rows = 0
        self._writer = pq.ParquetWriter(self._unfinished, schema, compression="zstd")

    def write(self, batch: Any) -> None:
        """Adds rows; they are written a row group at a time."""
        self._waiting.append(batch)
        self._rows += len(batch)
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def finish(self, provenance: Provenance) -> None:
        """Writes the rest and gives the file its name."""
        self._flush()
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(provenance, allow_nan=False).encode()})
        self._writer.close()
        publish(self._unfinished, self._path)

    def discard(self) -> None:
        """Removes the unfinished file."""
        self._writer.close()
        self._unfinished.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting, self._rows = [], 0


class JsonLinesSink:
    """A JSON-lines file, and the provenance in a file beside it."""

    def __init__(self, path: Path, _schema: Any) -> None:
        self._path = path
        self._unfinished = unfinished(path)
        self._stream = self._unfinished.open("w", encoding="utf-8")

    def write(self, batch: Any) -> None:
        """Adds rows, one object a line."""
        write_lines(self._stream, batch)

    def finish(self, provenance: Provenance) -> None:
        """Gives both files their names."""
        self._stream.close()
        beside = self._path.with_name(self._path.name + SIDECAR)
        draft = unfinished(beside)
        draft.write_text(json.dumps(provenance, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        publish(draft, beside)
        publish(self._unfinished, self._path)

    def discard(self) -> None:
        """Removes the unfinished file."""
        self._stream.close()
        self._unfinished.unlink(missing_ok=True)


class StdoutSink:
    """JSON lines on stdout, without provenance."""

    def write(self, batch: Any) -> None:
        """Adds rows, one object a line."""
        write_lines(sys.stdout, batch)

    def finish(self, _provenance: Provenance) -> None:
        """Sends off what is buffered."""
        sys.stdout.flush()

    def discard(self) -> None:
        """Nothing to take back."""


def write_lines(stream: IO[str], batch: Any) -> None:
    """A record batch as JSON lines."""
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    stream.writelines(encode(row) + "\n" for row in batch.to_pylist())


def unfinished(path: Path) -> Path:
    """The name of a file until it is complete: hidden, in the same folder, of this process alone."""
    return path.with_name(f".{path.name}.{os.getpid()}.unfinished")


def publish(draft: Path, path: Path) -> None:
    """Gives a complete file its name, in one step and durably."""
    with draft.open("rb+") as stream:
        os.fsync(stream.fileno())
    draft.replace(path)
