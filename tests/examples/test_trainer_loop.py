"""The trainer's loop against a real server: it learns, and what it upserted is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import negmine
import pytest

from examples.trainer_loop import BATCH, ITEMS, STEPS, train

if TYPE_CHECKING:
    from examples.demo.server import Server


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_learns_and_can_be_run_again(server: Server) -> None:
    for generation in (1, 2):
        said: list[str] = []
        before, after = train(server.target, said.append)
        assert before < 0.2
        assert after > 0.9
        assert said[0].startswith("step  10  loss 0.")
        assert said[-1].startswith(f"{STEPS * BATCH:,} rows upserted")
        with negmine.Client(server.target) as client:
            info = client.get("trainer-loop")
        assert info.rows == ITEMS
        assert info.newest == negmine.Version(generation, STEPS)


def test_no_server_is_an_error_that_names_it() -> None:
    with pytest.raises(negmine.Unavailable):
        train("127.0.0.1:1")
