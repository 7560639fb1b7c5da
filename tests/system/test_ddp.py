"""Two ranks under DistributedDataParallel mine from a server that is killed, comes back, and freezes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import negmine
import pytest
from ranks import Rank
from server_process import ServerProcess

pytest.importorskip("torch", reason="the ranks train with it")

from ddp_trainer import DIMENSION, ITEMS, TIMEOUT_S, features

SLACK_S = 5.0  # beyond the timeout of mining: two ranks, a server and a test on few cores
ENDING_S = 60.0  # of processes that import torch; the group's own timeout is far longer
NOBODY = "127.0.0.1:1"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path) as running:
        running.start()
        with negmine.Client(running.target) as client:
            collection = client.create_collection("ddp", DIMENSION, bits=128)
            collection.upsert(range(ITEMS), features()[:, :DIMENSION])
        yield running


@contextmanager
def ranks(folder: Path, *targets: str, on_error: str) -> Iterator[list[Rank]]:
    both = [Rank(rank, folder / "store", target, on_error) for rank, target in enumerate(targets)]
    try:
        yield both
    finally:
        for rank in both:
            rank.kill()


def test_training_goes_on_without_the_server_and_with_it_again(server: ServerProcess, tmp_path: Path) -> None:
    with ranks(tmp_path, server.target, server.target, on_error="in_batch") as both:
        for rank in both:
            rank.wait_for_more(mined=True)
        server.kill()
        for rank in both:
            rank.wait_for_more(mined=False)
        server.start()
        for rank in both:
            rank.wait_for_more(mined=True)
        os.kill(server.pid, signal.SIGSTOP)  # hangs: nothing is refused, nothing is answered
        for rank in both:
            rank.wait_for_more(mined=False)
        os.kill(server.pid, signal.SIGCONT)
        for rank in both:
            rank.wait_for_more(mined=True)
        both[0].tell_to_stop()
        assert [rank.wait(ENDING_S) for rank in both] == [0, 0], [rank.errors.read_text() for rank in both]

    assert len(both[0].steps) == len(both[1].steps)
    for one, other in zip(both[0].steps, both[1].steps, strict=True):
        assert one["weights"] == other["weights"]  # gradients were reduced, whichever branch a rank was on
    for rank in both:
        assert rank.steps[-1]["missed"] == sum(not step["mined"] for step in rank.steps)
        assert max(step["step_s"] for step in rank.steps) < TIMEOUT_S + SLACK_S
        waits = [step["step"] for step in rank.steps if step["waited_s"] > 0.9 * TIMEOUT_S]
        assert len(waits) <= 4, f"steps that waited for the server: {waits}"


def test_an_error_ends_both_ranks(server: ServerProcess, tmp_path: Path) -> None:
    with ranks(tmp_path, server.target, server.target, on_error="raise") as both:
        for rank in both:
            rank.wait_for_more(mined=True)
        server.kill()
        assert all(rank.wait(ENDING_S) for rank in both)
    assert any("negmine._exceptions.Unavailable" in rank.errors.read_text() for rank in both)


def test_a_rank_that_raises_alone_keeps_the_other_from_waiting(server: ServerProcess, tmp_path: Path) -> None:
    with ranks(tmp_path, server.target, NOBODY, on_error="raise") as (good, bad):
        assert bad.wait(ENDING_S) != 0
        assert good.wait(ENDING_S) != 0
    assert "negmine._exceptions.Unavailable" in bad.errors.read_text()
    assert "RuntimeError" in good.errors.read_text()
