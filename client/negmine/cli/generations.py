"""generation start: another attempt of a training run."""

from __future__ import annotations

from typing import Annotated

import typer

from negmine.cli import tables
from negmine.cli.collections import NAME
from negmine.cli.session import session_of

group = typer.Typer(no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Attempts of a training run."""  # keeps `start` a command of its own while it is the only one


@group.command("start")
def start(
    context: typer.Context,
    name: Annotated[str, NAME],
    generation: Annotated[
        int | None,
        typer.Option(help="Do nothing where it is the current one already, so that every trainer may ask."),
    ] = None,
) -> None:
    """Begin another attempt: what it writes wins over all earlier attempts, whatever the step."""
    session = session_of(context)
    with session.client() as client:
        current = client.collection(name).start_generation(generation)
    started = {"collection": name, "generation": current}
    session.answer(started, lambda: tables.properties(started))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.add_typer(group, name="generation", help="Attempts of a training run.")
