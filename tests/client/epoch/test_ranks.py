"""Ranks know the same: alone, and as two processes over gloo against a real server."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import negmine
import pytest
from negmine.epoch.ranks import Alone, together

WORKER = Path(__file__).with_name("gloo_worker.py")


def test_alone_a_result_is_its_own() -> None:
    assert together(Alone(), lambda: 3) == [3]


def test_alone_an_error_is_its_own() -> None:
    with pytest.raises(ZeroDivisionError):
        together(Alone(), lambda: 1 // 0)


def test_an_error_elsewhere_is_raised_here() -> None:
    class Pair(Alone):
        count = 2

        def gather(self, value: object) -> list[object]:
            return [value, ("OSError: gone", None)]

    with pytest.raises(negmine.Aborted, match="rank 1 of 2 failed: OSError: gone"):
        together(Pair(), lambda: 3)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="the processes meet in torch.distributed")
def test_two_processes_train_on_one_plan(fresh: negmine.Collection, target: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), str(tmp_path / "meeting"), target, fresh.name],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    try:
        first, second = (json.loads(process.communicate(timeout=90)[0].splitlines()[-1]) for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert [process.returncode for process in processes] == [0, 0]
    assert first["tables"] == second["tables"]
    assert first["plans"] == second["plans"]
    assert len({json.dumps(plan) for plan in first["plans"]}) == 3
    for plan, here, there in zip(first["plans"], first["mine"], second["mine"], strict=True):
        assert len(plan) == len(here) == len(there) == 10
        assert [[*one, *other] for one, other in zip(here, there, strict=True)] == plan
        assert sorted(row for batch in plan for row in batch) == list(range(120))
    assert first["pure"] > 0.9  # each rank's anchors were mined among the items of both
    assert first["pure"] == second["pure"]
    assert second["failed"] == "RuntimeError: out of memory"
    assert first["failed"] == "Aborted: rank 1 of 2 failed: RuntimeError: out of memory"
    assert first["full"] == second["full"]
    assert first["full_pure"] > 0.9  # the second try went through, over the whole dataset
