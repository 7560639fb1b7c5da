from __future__ import annotations

from collections.abc import Callable

import negmine
from command_line import Ran


def test_an_alias_is_set_moved_listed_and_dropped(
    cli: Callable[..., Ran], fresh: negmine.Collection, live: negmine.Client
) -> None:
    alias, other = f"{fresh.name}-a", f"{fresh.name}-b"
    live.create_collection(other, 16)
    assert cli("alias", "set", alias, fresh.name, "--json").json["previous"] is None
    assert cli("alias", "set", alias, other, "--json").json["previous"] == fresh.name
    assert cli("alias", "list", "--json").json[alias] == other
    assert f"{alias}  {other}" in cli("alias", "list").out
    assert cli("alias", "drop", alias).code == 0
    again = cli("alias", "drop", alias)
    assert again.code == 1
    assert alias in again.complaint


def test_an_alias_of_nothing(cli: Callable[..., Ran]) -> None:
    ran = cli("alias", "set", "here", "nowhere")
    assert ran.code == 1
    assert "nowhere" in ran.complaint
