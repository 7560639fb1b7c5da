from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import typer
from negmine.cli.option_groups import option_groups


@dataclass(frozen=True)
class Pair:
    left: Annotated[int, typer.Option(help="Required.")]
    right: Annotated[int, typer.Option(help="Optional.")] = 2


def test_a_field_is_an_option() -> None:
    seen = []

    @option_groups
    def command(name: Annotated[str, typer.Argument()], pair: Pair, last: bool = False) -> None:
        seen.append((name, pair, last))

    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["name", "left", "right", "last"]
    assert parameters["left"].default is inspect.Parameter.empty
    command(name="x", left=1, right=3, last=True)
    assert seen == [("x", Pair(1, 3), True)]
