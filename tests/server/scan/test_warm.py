"""Warming up compiles what requests will run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numba.core.dispatcher as dispatcher
from negmine_server.scan.warm import warm_up
warm_up()
def compiled_late(*arguments, **options):
    raise AssertionError("a kernel was compiled after the warm-up")
dispatcher._FunctionCompiler.compile = compiled_late
import sys
import numpy as np
from dataclasses import replace
from pathlib import Path
from negmine_server.domain import Metric, Scoring
from negmine_server.index.rows import Rows
from negmine_server.domain import Batch, VectorStore
from negmine_server.scan import cpu, warm
from negmine_server.storage.scratch import arrays_on_disk
n = 20_000
rng = np.random.default_rng(0)
for store, dtype in warm.STORE_DTYPES.items():
    rows = Rows(3, store, 20, allocate_vectors=arrays_on_disk(Path(sys.argv[1])))
    rows.apply(Batch(ids=np.arange(n), versions=np.zeros(n, np.int64), codes=np.zeros((n, 3), np.uint64),
                     groups=np.zeros(n, np.int64), tags=np.zeros(n, np.uint64), vectors=np.ones((n, 20), dtype)))
    rows.apply(Batch(ids=np.arange(5), versions=np.ones(5, np.int64)))
    query = replace(warm.probe(), codes=np.zeros((1, 3), np.uint64), values=np.ones((1, 192), np.int8),
                    vectors=np.ones((1, 20), np.float32))
    for name in ("codes", "values", "vectors", "scales", "after_ids"):
        getattr(query, name).flags.writeable = False  # as arrays that view received bytes are
    for scoring in Scoring:
        for metric in Metric:
            asked = replace(query, scoring=scoring).take(slice(0, 1))
            found = cpu.top_r(rows.view, asked, 7, 192, metric, rescored=True)
            assert found.ids[0].tolist() == [5, 6, 7, 8, 9, 10, 11]
            located = rows.locate(found.ids[0])
            cpu.score_pairs(located.view, replace(query, scoring=scoring), np.zeros(7, np.int64), located.rows, metric)
"""


def test_nothing_is_compiled_after_the_warm_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
