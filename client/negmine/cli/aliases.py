"""alias set, drop and list: second names that can move from one collection to another."""

from __future__ import annotations

from typing import Annotated

import typer

from negmine.cli import tables
from negmine.cli.session import session_of

group = typer.Typer(no_args_is_help=True)


@group.command("set")
def set_(
    context: typer.Context,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias; made where it is new.")],
    collection: Annotated[str, typer.Argument(metavar="COLLECTION", help="The collection it shall name.")],
) -> None:
    """Point an alias at a collection, at once for every caller."""
    session = session_of(context)
    with session.client() as client:
        previous = client.set_alias(alias, collection)
    changed = {"alias": alias, "collection": collection, "previous": previous}
    session.answer(changed, lambda: tables.properties(changed))


@group.command("drop")
def drop(context: typer.Context, alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")]) -> None:
    """Remove an alias; its collection stays."""
    session = session_of(context)
    with session.client() as client:
        client.drop_alias(alias)
    session.answer({"dropped": alias}, lambda: tables.properties({"dropped": alias}))


@group.command("list")
def list_(context: typer.Context) -> None:
    """List aliases."""
    session = session_of(context)
    with session.client() as client:
        aliases = client.list_aliases()
    session.answer(
        aliases, lambda: tables.grid({"alias": "left", "collection": "left"}, sorted(aliases.items()), "no aliases")
    )


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.add_typer(group, name="alias", help="Second names of collections.")
