"""A few rows that are written, overwritten and deleted, and searched by every kernel: for compute-sanitizer.

Answers are held against the numpy reference, so that what a sanitizer looks at is known to be right.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from functools import partial

import numpy as np
from negmine_server.domain import Batch, Metric, Query, Scoring, VectorStore
from negmine_server.index.rows import Rows
from negmine_server.scan import reference

from gpu import anchors

BITS, DIMENSION, PAGE_ROWS = 256, 24, 256
ROWS, OVERWRITTEN, DELETED = 700, 150, 40
ANCHORS, R = 19, 12
SCANNERS = (("", ""), ("int8", "planes4"), ("popc", "planes"))


def main() -> int:
    """The exit status: 0, as what is wrong raises."""
    parser = argparse.ArgumentParser(prog="gpu.small", description=__doc__)
    parser.add_argument("--simulate", action="store_true")
    given = parser.parse_args()
    if given.simulate:
        os.environ["TRITON_INTERPRET"] = "1"
    from negmine_server.device.pages import DevicePages

    from gpu.card import Card

    card = Card(simulate=given.simulate)
    card.gpu.captures = False  # each launch by itself is what the sanitizer names
    mirror = DevicePages(card.gpu, BITS // 64, VectorStore.FLOAT16, DIMENSION, PAGE_ROWS)
    rows = Rows(BITS // 64, VectorStore.FLOAT16, DIMENSION, page_rows=PAGE_ROWS, mirror=mirror)
    random = np.random.default_rng(0)
    rows.apply(batch(random, np.arange(ROWS), version=1))
    rows.apply(batch(random, random.permutation(ROWS)[:OVERWRITTEN], version=2))
    rows.apply(Batch(ids=random.permutation(ROWS)[:DELETED], versions=np.full(DELETED, 3)))
    searched = 0
    for names in SCANNERS:
        searcher = card.searcher(BITS // 64, *names)
        for query in queries(random):
            wanted = reference.top_r(rows.view, query, R, BITS, Metric.COSINE, rescored=True)
            found = card.on_worker(partial(searcher.top_r, rows.view, query, R, rescored=True))
            for field in ("ids", "scores", "rescored", "versions", "counts", "above"):
                np.testing.assert_array_equal(getattr(found, field), getattr(wanted, field), field)
            searched += 1
    print(f"{searched} searches, as the reference has them")
    return 0


def batch(random: np.random.Generator, ids: np.ndarray, version: int) -> Batch:
    """Rows with every column that scans filter by."""
    n = len(ids)
    return Batch(
        ids=ids,
        versions=np.full(n, version),
        codes=random.integers(0, 2**64, (n, BITS // 64), np.uint64),
        corrections=random.uniform(0.5, 1, n).astype(np.float32),
        groups=random.integers(0, 9, n),
        tags=random.integers(0, 4, n).astype(np.uint64),
        vectors=random.standard_normal((n, DIMENSION)).astype(np.float16),
    )


def queries(random: np.random.Generator) -> list[Query]:
    """Each scoring, once with filters."""
    values = random.integers(-8, 8, (ANCHORS, BITS)).astype(np.int8)
    vectors = random.standard_normal((ANCHORS, DIMENSION)).astype(np.float32)
    scales = random.uniform(0.01, 0.02, ANCHORS).astype(np.float32)
    filters = {
        "exclude_groups": random.integers(0, 9, ANCHORS),
        "forbid_tags": np.full(ANCHORS, 1, np.uint64),
        "min_steps": np.full(ANCHORS, 1),
        "after_scores": np.full(ANCHORS, 0.1, np.float32),
    }
    symmetric = replace(anchors.symmetric(values.view(np.uint64)[:, : BITS // 64].copy()), vectors=vectors)
    asymmetric = replace(anchors.asymmetric(values, scales), vectors=vectors)
    plain = [symmetric, asymmetric, replace(symmetric, scoring=Scoring.FLOAT)]
    return [*plain, *(replace(query, **filters) for query in plain)]


if __name__ == "__main__":
    sys.exit(main())
