"""Reads Parquet files batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from negmine.cli.mistakes import Mistake
from negmine.cli.rows import Ragged, Rows, chunk_rows, find_columns

_BUFFER_BYTES = 1 << 20  # read ahead of each column; otherwise a whole row group is in memory
_FIRST_ROWS = 64  # read to learn the dimension, where the type does not say it


class ParquetFile:
    """Columns by name: embeddings as lists of one length, positives as lists or single ids."""

    def __init__(self, path: str, named: dict[str, str | None]) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
        except pa.ArrowException as wrong:
            raise Mistake(f"{path} is not a readable Parquet file: {str(wrong).splitlines()[0]}") from wrong
        self._columns = find_columns(named, self._file.schema_arrow.names, path)
        name = self._columns["embedding"]
        kind = _storage(self._file.schema_arrow.field(name).type)
        if not _is_list(kind) or not pa.types.is_floating(kind.value_type):
            raise Mistake(f"{path}, column {name!r} has type {kind}; expected lists of float16, float32 or float64")
        self._dimension = self._find_dimension(name, kind)

    @property
    def roles(self) -> dict[str, str]:
        """Name of the column of each role."""
        return dict(self._columns)

    @property
    def ignored(self) -> list[str]:
        """Names of the columns that are not read."""
        used = set(self._columns.values())
        return [name for name in self._file.schema_arrow.names if name not in used]

    def dimension(self) -> int:
        """Length of the embeddings; 0 where there are no rows."""
        return self._dimension

    def rows_total(self) -> int:
        """Rows of the file."""
        return int(self._file.metadata.num_rows)

    def chunks(self) -> Iterator[Rows]:
        """Its rows, as many at a time as a chunk holds."""
        first = 0
        names = sorted(set(self._columns.values()))
        try:
            for batch in self._file.iter_batches(batch_size=chunk_rows(self._dimension), columns=names):
                yield self._rows(batch, first)
                first += len(batch)
        except (pa.ArrowException, OSError) as wrong:
            raise Mistake(f"{self.path} is damaged after row {first}: {str(wrong).splitlines()[0]}") from wrong

    def _find_dimension(self, name: str, kind: Any) -> int:
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for batch in self._file.iter_batches(batch_size=_FIRST_ROWS, columns=[name]):
            if len(batch):
                return int(self._embeddings(batch.column(0), 0).shape[1])
        return 0

    def _rows(self, batch: Any, first: int) -> Rows:
        held = {role: _unwrapped(batch.column(name)) for role, name in self._columns.items()}
        return Rows(
            self.path,
            np.arange(first, first + len(batch)),
            "row",
            self._embeddings(held["embedding"], first),
            ids=self._integers(held.get("id"), "id", first, fill=None),
            groups=self._integers(held.get("group"), "group", first, fill=-1),
            tags=self._integers(held.get("tags"), "tags", first, fill=0),
            uncertainties=self._floats(held.get("uncertainty")),
            positives=self._positives(held.get("positives"), first),
        )

    def _embeddings(self, column: Any, first: int) -> NDArray[Any]:
        column = _unwrapped(column)
        self._refuse_nulls(column, "embedding", first)
        values = column.flatten()
        if values.null_count:
            raise Mistake(f"{self.path}: an embedding from row {first} on holds a null; expected numbers")
        lengths = np.full(len(column), len(values) // max(1, len(column)))
        if not pa.types.is_fixed_size_list(column.type):
            lengths = column.value_lengths().to_numpy(zero_copy_only=False)
            odd = np.flatnonzero(lengths != lengths[0])
            if odd.size:
                raise Mistake(
                    f"{self.path}, row {first + odd[0]}: the embedding has {lengths[odd[0]]} values; "
                    f"expected {lengths[0]} as in row {first}"
                )
        width = int(lengths[0]) if len(lengths) else self._dimension
        array: NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return array.reshape(len(column), width)

    def _integers(self, column: Any, role: str, first: int, fill: int | None) -> NDArray[Any] | None:
        if column is None:
            return None
        if not pa.types.is_integer(column.type):
            raise Mistake(
                f"{self.path}, column {self._columns[role]!r} has type {column.type}; expected integers for {role}"
            )
        if fill is None:
            self._refuse_nulls(column, role, first)
        elif column.null_count:
            if not pa.types.is_signed_integer(column.type) and fill < 0:
                column = column.cast(pa.int64())
            column = column.fill_null(fill)
        array: NDArray[Any] = column.to_numpy(zero_copy_only=False)
        return array

    def _floats(self, column: Any) -> NDArray[Any] | None:
        if column is None:
            return None
        if not pa.types.is_floating(column.type):
            raise Mistake(
                f"{self.path}, column {self._columns['uncertainty']!r} has type {column.type}; expected floating point"
            )
        array: NDArray[Any] = column.fill_null(float("nan")).to_numpy(zero_copy_only=False)
        return array

    def _positives(self, column: Any, first: int) -> Ragged | None:
        if column is None:
            return None
        kind = column.type
        listed = _is_list(kind)
        if not pa.types.is_integer(kind.value_type if listed else kind):
            raise Mistake(
                f"{self.path}, column {self._columns['positives']!r} has type {kind}; expected integers or their lists"
            )
        values = column.flatten() if listed else column.drop_null()
        if values.null_count:
            raise Mistake(f"{self.path}: a list of positives from row {first} on holds a null; expected ids")
        if listed:
            lengths = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
        else:
            lengths = column.is_valid().to_numpy(zero_copy_only=False)
        offsets = np.zeros(len(column) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return offsets, values.to_numpy(zero_copy_only=False).astype(np.int64)

    def _refuse_nulls(self, column: Any, role: str, first: int) -> None:
        if column.null_count:
            row = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise Mistake(f"{self.path}, row {row}: {role} is null")


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _storage(kind: Any) -> Any:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _unwrapped(column: Any) -> Any:
    """A column as it is stored: tensors and other extension types as the lists below them, dictionaries as values."""
    if isinstance(column, pa.ExtensionArray):
        return column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
