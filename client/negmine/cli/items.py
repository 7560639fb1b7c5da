"""fetch and delete: single items by id."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from negmine.cli import tables
from negmine.cli.collections import NAME
from negmine.cli.mistakes import ExitCode, Mistake
from negmine.cli.session import session_of
from negmine.cli.sources import read_ids

_IDS: Final = typer.Argument(metavar="IDS", help="Ids of items.", show_default=False, min=0)
_FILE: Final = typer.Option(metavar="FILE", help="Ids in a file: .npy, or text with one a line; - is stdin.")


def fetch(
    context: typer.Context,
    name: Annotated[str, NAME],
    ids: Annotated[list[int] | None, _IDS] = None,
    ids_file: Annotated[str | None, _FILE] = None,
    embeddings: Annotated[bool, typer.Option("--embeddings", help="With the stored vectors.")] = False,
    codes: Annotated[bool, typer.Option("--codes", help="With the sign codes (in --json).")] = False,
    fail_missing: Annotated[bool, typer.Option("--fail-missing", help="Exit with 3 where an id is not found.")] = False,
) -> None:
    """Show items by id: version, group, tags, uncertainty."""
    session = session_of(context)
    wanted = read_ids(ids or [], ids_file)
    with session.client() as client:
        items = client.collection(name).fetch(wanted, codes=codes, embeddings=embeddings)
    session.answer({"ids": wanted, "items": items}, lambda: tables.items_table(wanted.tolist(), items))
    missing = int((~items.found).sum())
    if missing:
        session.note(f"{missing:,} of {len(wanted):,} ids are not in {name}")
    if missing and fail_missing:
        raise typer.Exit(ExitCode.PARTIAL)


def delete(
    context: typer.Context,
    name: Annotated[str, NAME],
    ids: Annotated[list[int] | None, _IDS] = None,
    ids_file: Annotated[str | None, _FILE] = None,
    step: Annotated[
        int | None, typer.Option(help="Step of the delete: newer items stay. Unset: the collection's newest.")
    ] = None,
    generation: Annotated[int | None, typer.Option(help="Generation of the delete, with --step.")] = None,
) -> None:
    """Delete items by id; ids that are not there are remembered as deleted too."""
    session = session_of(context)
    if generation is not None and step is None:
        raise Mistake(f"--generation is {generation} without --step; expected both")
    wanted = read_ids(ids or [], ids_file)
    with session.client() as client:
        done = client.collection(name).delete(wanted, step=step, generation=generation)
    session.answer(
        done,
        lambda: tables.properties(
            {
                "deleted": done.deleted,
                "newer, kept": done.stale,
                "not there": len(wanted) - done.deleted - done.stale,
            }
        ),
    )


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("fetch")(fetch)
    app.command("delete")(delete)
