"""Re-mining where two processes train: the first mines, the other is told, whatever comes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is not installed")

NOBODY = "127.0.0.1:1"
RANK = """
import json, os, sys
import negmine, tiny_models, torch
from negmine.integrations._search import Place
from negmine.integrations.sentence_transformers import RemineCallback

rank, store, target = int(sys.argv[1]), sys.argv[2], sys.argv[3]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
model = tiny_models.static_model()
client = negmine.Client(target, retry=negmine.Retry(1))
remine = RemineCallback(model, tiny_models.pairs(), 5, client=client, num_negatives=2)
first = remine.train_dataset[:]
remine.remine(tiny_models.static_model(seed=3), 5)
second = remine.train_dataset[:]
remine._place = Place(client=negmine.Client("127.0.0.1:1", retry=negmine.Retry(1)))
try:
    remine.remine(model, 10)
except negmine.NegmineError as failure:
    error = type(failure).__name__, str(failure)
print(json.dumps([first, second, remine.train_dataset[:], error]))
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_the_first_process_mines_for_all(target: str, tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(tmp_path / "store"), server],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths},
        )
        for rank, server in enumerate([target, NOBODY])
    ]  # fmt: skip
    said = [process.communicate(timeout=100) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    (first, second, third, error), (*same, told) = (json.loads(out.splitlines()[-1]) for out, _ in said)
    assert same == [first, second, third]
    assert first != second == third
    assert error[0] == "Unavailable"
    assert told[0] == "Aborted"
    assert "mining failed in the first process: Unavailable(" in told[1]
