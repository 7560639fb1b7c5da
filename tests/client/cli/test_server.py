from __future__ import annotations

from collections.abc import Callable

import negmine
from command_line import Ran


def test_info(cli: Callable[..., Ran], live: negmine.Client) -> None:
    info = live.server_info()
    told = cli("info", "--json").json
    assert told["version"] == info.version
    assert told["features"] == sorted(info.features)
    assert told["limits"]["k_max"] == info.limits.k_max
    assert f"version {info.version}" in cli("info").out
