"""Rows of a file on their way to the server: what the columns are called, and what may stand in them.

A reader yields `Rows` as a file has them; `checked` turns down what the server would turn down, with the file and row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol, TypeAlias

import numpy as np
import typer
from numpy.typing import NDArray

from negmine.cli.mistakes import Mistake

I64: TypeAlias = NDArray[np.int64]
Ragged: TypeAlias = tuple[I64, I64]  # offsets [n + 1] and values: row i owns values[offsets[i]:offsets[i + 1]]

CHUNK_BYTES: Final = 8 << 20  # of the embeddings in memory at a time
CHUNK_ROWS_MAX: Final = 32_768
_I64_MAX: Final = np.iinfo(np.int64).max
_PANEL: Final = "Columns"


@dataclass(frozen=True, slots=True)
class ItemColumns:
    """Names of the columns of items; None = found by its usual names, where the file has it."""

    id_column: Annotated[
        str | None, typer.Option(help="Ids. Usual: id, ids; without them the row's number.", rich_help_panel=_PANEL)
    ] = None
    embedding_column: Annotated[
        str | None, typer.Option(help="Embeddings. Usual: embedding, embeddings.", rich_help_panel=_PANEL)
    ] = None
    group_column: Annotated[
        str | None,
        typer.Option(
            help="Groups (of a label, class, document), integers. Usual: group, groups.", rich_help_panel=_PANEL
        ),
    ] = None
    tags_column: Annotated[str | None, typer.Option(help="Tag bits. Usual: tags.", rich_help_panel=_PANEL)] = None
    uncertainty_column: Annotated[
        str | None, typer.Option(help="Uncertainties. Usual: uncertainty, uncertainties.", rich_help_panel=_PANEL)
    ] = None

    def named(self) -> dict[str, str | None]:
        """The column asked for, by role."""
        return {
            "embedding": self.embedding_column,
            "id": self.id_column,
            "group": self.group_column,
            "tags": self.tags_column,
            "uncertainty": self.uncertainty_column,
        }


@dataclass(frozen=True, slots=True)
class AnchorColumns:
    """Names of the columns of anchors; None = found by its usual names, where the file has it."""

    id_column: Annotated[
        str | None,
        typer.Option(help="The anchors' ids. Usual: id, ids; without them the row's number.", rich_help_panel=_PANEL),
    ] = None
    embedding_column: Annotated[
        str | None, typer.Option(help="Embeddings. Usual: embedding, embeddings.", rich_help_panel=_PANEL)
    ] = None
    positives: Annotated[
        str | None,
        typer.Option(
            help="Ids of each anchor's positives, one or a list; never mined. Usual: positives, positive.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    group_column: Annotated[
        str | None,
        typer.Option(
            help="The anchors' groups; items of the same are not mined. Usual: group, groups.", rich_help_panel=_PANEL
        ),
    ] = None

    def named(self) -> dict[str, str | None]:
        """The column asked for, by role."""
        return {
            "embedding": self.embedding_column,
            "id": self.id_column,
            "positives": self.positives,
            "group": self.group_column,
        }


_USUAL: Final = {
    "embedding": ("embedding", "embeddings"),
    "id": ("id", "ids"),
    "group": ("group", "groups"),
    "tags": ("tags",),
    "uncertainty": ("uncertainty", "uncertainties"),
    "positives": ("positives", "positive"),
}
_TOLD: Final = ("id", "embedding", "group", "positives", "tags", "uncertainty")
OPTION: Final = {role: f"--{role}-column" for role in _USUAL} | {"positives": "--positives"}


def find_columns(named: dict[str, str | None], present: Sequence[str], path: str) -> dict[str, str]:
    """The column of each role that the file has.

    Raises:
        Mistake: a column that was asked for, or the embeddings, are not there.
    """
    found: dict[str, str] = {}
    for role, name in named.items():
        usual = next((candidate for candidate in _USUAL[role] if candidate in present), None)
        if name is not None and name not in present:
            raise Mistake(f"{path} has no column {name!r} ({OPTION[role]}); it has {', '.join(present) or 'none'}")
        if name is None and usual is None and role == "embedding":
            raise Mistake(
                f"{path} has no column 'embedding'; it has {', '.join(present) or 'none'}: "
                "name the one with the embeddings by --embedding-column"
            )
        chosen = name or usual
        if chosen is not None:
            found[role] = chosen
    return found


def told_of_ignored(used: dict[str, str], ignored: Sequence[str], named: dict[str, str | None]) -> str:
    """What is said of columns that are not read: one may be the groups or positives, whose protection would be lost.

    Args:
        used: the column of each role.
        ignored: the other columns.
        named: the roles there may be.
    """
    names = [used[role] for role in _TOLD if role in used]
    ways = [OPTION[role] for role in ("group", "positives") if role in named and role not in used]
    hint = f" (name {'it' if len(ignored) == 1 else 'one'} by {' or '.join(ways)})" if ways else ""
    return f"columns used: {', '.join(names)}; ignored: {', '.join(ignored)}{hint}"


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """n rows of one file.

    Attributes:
        path: the file, as it was given.
        numbers: of each row in the file, as `unit` counts.
        unit: "row" from 0, or "line" from 1.
        embeddings: floating point [n, d].
        ids: integers [n]; None = the file has none.
        groups: integers [n], -1 = none.
        tags: integers [n].
        uncertainties: floating point [n], NaN = none.
        positives: ids of each row's positives.
    """

    path: str
    numbers: NDArray[np.int64]
    unit: str
    embeddings: NDArray[Any]
    ids: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    tags: NDArray[Any] | None = None
    uncertainties: NDArray[Any] | None = None
    positives: Ragged | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def place(self, row: int) -> str:
        """Where a row stands, for a message."""
        return f"{self.path}, {self.unit} {self.numbers[row]}"


class Source(Protocol):
    """A file of rows.

    Attributes:
        path: as it was given.
        roles: name of the column of each: embedding, id, group, tags, uncertainty, positives.
        ignored: names of its columns that are not read.
    """

    path: str

    @property
    def roles(self) -> dict[str, str]: ...

    @property
    def ignored(self) -> list[str]: ...

    def dimension(self) -> int:
        """Length of the embeddings; 0 where the file has no rows."""
        ...

    def rows_total(self) -> int | None:
        """How many rows it has, or an estimate that grows better while it is read; None = not known yet."""
        ...

    def chunks(self) -> Iterator[Rows]:
        """Its rows in order, at most about CHUNK_BYTES of embeddings at a time."""
        ...


def chunk_rows(dimension: int, item_bytes: int = 4) -> int:
    """Rows of a chunk."""
    return max(1, min(CHUNK_ROWS_MAX, CHUNK_BYTES // max(1, dimension * item_bytes)))


def checked(chunks: Iterable[Rows], dimension: int) -> Iterator[Rows]:
    """The chunks again, where every row can be sent.

    Raises:
        Mistake: another dimension than the collection's, an embedding that is zero or not finite, an id that is
            negative or twice in a chunk, or a value of the wrong type; named with its file and row.
    """
    for rows in chunks:
        if rows.embeddings.shape[1] != dimension and len(rows):
            raise Mistake(f"{rows.path} has embeddings of dimension {rows.embeddings.shape[1]}; expected {dimension}")
        _require(rows, np.isfinite(rows.embeddings).all(axis=1), "the embedding holds NaN or infinity")
        _require(rows, (rows.embeddings != 0).any(axis=1), "the embedding is zero, which has no direction")
        if rows.ids is not None:
            _check_ids(rows, rows.ids)
        if rows.groups is not None:
            _check_integers(rows, rows.groups, "group", lowest=-1)
        if rows.tags is not None:
            _check_integers(rows, rows.tags, "tags", lowest=0)
        if rows.uncertainties is not None and rows.uncertainties.dtype.kind not in "fiu":
            raise Mistake(f"{rows.path}: uncertainties have type {rows.uncertainties.dtype}; expected floating point")
        yield rows


def _check_ids(rows: Rows, ids: NDArray[Any]) -> None:
    _check_integers(rows, ids, "id", lowest=0)
    order = np.argsort(ids, kind="stable")
    again = order[1:][ids[order][1:] == ids[order][:-1]]
    if again.size:
        row = int(again.min())
        raise Mistake(f"{rows.place(row)}: id {ids[row]} stands twice in the file")


def _check_integers(rows: Rows, values: NDArray[Any], what: str, lowest: int) -> None:
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise Mistake(
            f"{rows.path}: {what} has type {values.dtype} and shape {values.shape}; expected one integer a row"
        )
    low = np.flatnonzero(values < lowest)
    if low.size:
        raise Mistake(f"{rows.place(low[0])}: {what} is {values[low[0]]}; expected at least {lowest}")
    if what != "tags" and values.size and values.max() > _I64_MAX:
        row = int(values.argmax())
        raise Mistake(f"{rows.place(row)}: {what} is {values[row]}; expected at most {_I64_MAX}")


def _require(rows: Rows, right: NDArray[np.bool_], why: str) -> None:
    found = np.flatnonzero(~right)
    if found.size:
        raise Mistake(f"{rows.place(found[0])}: {why}")
