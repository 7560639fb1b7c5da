"""Compiles everything before the server turns SERVING, so that no request pays for it."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import numpy as np

from negmine_server.domain import Batch, Candidates, Metric, Scoring
from negmine_server.engine.merge import merge
from negmine_server.index import partition as partitions
from negmine_server.index.blocks import LOOSE
from negmine_server.index.buckets import misplaced
from negmine_server.index.drawing import draw
from negmine_server.index.rows import Rows
from negmine_server.scan import warm
from negmine_server.scan.probing import searches
from negmine_server.select.chosen import Chosen
from negmine_server.select.filters import Exclusions, Survivors
from negmine_server.select.likeness import of_vectors
from negmine_server.select.policy import Picks

LOG = logging.getLogger(__name__)


def warm_up() -> None:
    """Runs each kernel once: the scans', then the merge, the filters and what policies compare."""
    begin = time.perf_counter()
    warm.warm_up()
    part = Candidates(
        ids=np.array([[1, 2]]),
        scores=np.array([[0.5, 0.25]], np.float32),
        rescored=None,
        versions=np.zeros((1, 2), np.int64),
        counts=np.array([2], np.int32),
        above=np.zeros(1, np.int64),
    )
    found = merge([part, part], 4)
    exclusions = Exclusions(
        own_ids=np.array([9]),
        positive_offsets=np.array([0, 1]),
        positive_ids=np.array([2]),
        margin_ceilings=np.ones(1, np.float32),
        max_ceiling=np.float32(1),
        floors=np.full(1, -1, np.float32),
    )
    rows = Rows(1)
    rows.apply(Batch(ids=np.arange(4), versions=np.zeros(4, np.int64), codes=np.zeros((4, 1), np.uint64)))
    draw(rows.view, 0, 0, 2)
    survivors = Survivors(1, 2)
    survivors.absorb(found, found.scores, np.arange(1), exclusions)
    chosen = Chosen(survivors, Picks(np.zeros((1, 1), np.int64)), 2)
    chosen.append(np.arange(1), found.ids, found.scores, found.versions, np.ones(1, np.int64))
    for _, block in of_vectors(np.zeros((1, 2), np.int64), np.ones((1, 1), np.float32)).blocks():
        block.mean_distances(np.ones((1, 2), bool))
    _warm_buckets()
    LOG.info("kernels ready in %.2f s", time.perf_counter() - begin)


def _warm_buckets() -> None:
    """Routes, moves and probes some rows of as many buckets as have coarse cells."""
    n = 4 * partitions.FLAT_MAX
    codes = np.random.default_rng(0).integers(0, 2**64, (n, 1), np.uint64)
    partition = partitions.train(codes, 2 * partitions.FLAT_MAX, 0)
    rows = Rows(1)
    rows.apply(Batch(ids=np.arange(n), versions=np.zeros(n, np.int64), codes=codes))
    moves = misplaced(rows.view, LOOSE, n, partition.route)
    moves.apply(rows)
    query = warm.probe()
    probes = partition.nearest(partitions.points_of(query), 2)
    partition.ranks(partitions.points_of(query), probes)
    for scoring in Scoring:
        if scoring is not Scoring.FLOAT:
            probed = replace(query, scoring=scoring, probes=probes)
            for search in searches(rows.view, probed, 3, 2, Metric.COSINE, rescored=False):
                search()
