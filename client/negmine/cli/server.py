"""info: the server itself."""

from __future__ import annotations

import typer

from negmine.cli import tables
from negmine.cli.session import session_of


def info(context: typer.Context) -> None:
    """Show the server's version, limits and features."""
    session = session_of(context)
    with session.client() as client:
        found = client.server_info()
    session.answer(found, lambda: tables.server_table(found, session.target))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("info")(info)
