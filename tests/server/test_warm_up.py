"""After the warm-up nothing is left to be compiled, in buckets neither."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import numba.core.dispatcher as dispatcher
from negmine_server.warm_up import warm_up
warm_up()
def compiled_late(*arguments, **options):
    raise AssertionError("a kernel was compiled after the warm-up")
dispatcher._FunctionCompiler.compile = compiled_late
import numpy as np
from dataclasses import replace
from negmine_server.domain import Batch, Metric, Scoring
from negmine_server.index import partition as partitions
from negmine_server.index.blocks import LOOSE
from negmine_server.index.buckets import bucket_of, misplaced, sample
from negmine_server.index.rows import Rows
from negmine_server.scan import warm
from negmine_server.scan.probing import searches
from negmine_server.select.chosen import Chosen
from negmine_server.select.filters import Survivors
from negmine_server.select.likeness import of_vectors
from negmine_server.select.policy import Picks
chosen = Chosen(Survivors(3, 5), Picks(np.full((3, 2), -1)), 4)
ids = np.arange(12).reshape(2, 6)
chosen.append(np.array([2, 0]), ids[:, ::-1], ids.astype(np.float32)[:, :6], ids, np.array([1, 3]))
known = of_vectors(np.zeros((3, 40), np.int64), np.ones((2, 8), np.float32))
for part, block in known.blocks():
    block.mean_distances((np.arange(40) < np.array([[3], [40], [0]]))[part])
n = 3000
codes = np.random.default_rng(1).integers(0, 2**64, (n, 3), np.uint64)
rows = Rows(3)
rows.apply(Batch(ids=np.arange(n), versions=np.zeros(n, np.int64), codes=codes))
for buckets in (20, 300):
    partition = partitions.train(sample(rows.view, None, 2000, 0), buckets, 0)
    assert partitions.split(codes, 0, 3) is not None
    partition = partition.changed(add=partitions.split(codes, 0), close=[1]).changed(drop=[2])
    misplaced(rows.view, LOOSE, n, partition.route).apply(rows)
    query = replace(warm.probe(), codes=codes[:1], values=np.ones((1, 192), np.int8))
    for scoring in (Scoring.SYMMETRIC, Scoring.ASYMMETRIC):
        asked = replace(query, scoring=scoring)
        for count in (1, 5, len(partition)):
            probes = partition.nearest(partitions.points_of(asked), count)
            for parts in (1, 3):
                probed = replace(asked, probes=probes)
                for search in searches(rows.view, probed, 7, parts, Metric.COSINE, rescored=False):
                    found = search()
        partition.ranks(partitions.points_of(asked), bucket_of(rows.locate(found.ids[0]))[None, :])
"""


def test_nothing_is_compiled_after_the_warm_up() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
