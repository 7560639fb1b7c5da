"""A server for the examples that want one; each uses a collection of its own name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from examples.demo.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as running:
        running.start()
        yield running
        running.stop()
