from __future__ import annotations

from collections.abc import Callable

import negmine
from command_line import Ran


def test_a_generation_is_started_once(cli: Callable[..., Ran], fresh: negmine.Collection) -> None:
    start = ("generation", "start", fresh.name)
    assert cli(*start, "--json").json == {"collection": fresh.name, "generation": 1}
    assert cli(*start, "--generation", 1, "--json").json["generation"] == 1
    assert cli(*start, "--generation", 2).code == 0
    skipped = cli(*start, "--generation", 9)
    assert skipped.code == 2
    assert "generation is 9" in skipped.complaint
