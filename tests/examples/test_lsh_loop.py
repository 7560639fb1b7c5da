"""The LSH paper's loop against a real server: composed batches teach more than random ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import negmine
import pytest

torch = pytest.importorskip("torch", reason="the example trains with PyTorch")

from examples.lsh_loop import EPOCHS, PAIRS, compare

if TYPE_CHECKING:
    from examples.demo.server import Server


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_composed_batches_teach_more(server: Server) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    said: list[str] = []
    try:
        found = compare(server.target, said.append)
    finally:
        torch.set_num_threads(threads)
    assert found["random"] < 0.9
    assert found["LSH"] > found["random"] + 0.05
    assert said[0] == "random batches"
    assert said[EPOCHS + 1] == "LSH batches"
    assert len(said) == 2 * (EPOCHS + 1)
    with negmine.Client(server.target) as client:
        info = client.get("lsh-loop")
    assert info.rows == PAIRS
    assert info.newest == negmine.Version(1, EPOCHS * PAIRS // 50)


def test_no_server_is_an_error() -> None:
    with pytest.raises(negmine.Unavailable):
        compare("127.0.0.1:1")
