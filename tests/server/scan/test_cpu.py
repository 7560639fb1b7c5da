"""The compiled scans against the numpy reference: bit for bit."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from negmine_server.domain import Batch, Candidates, Metric, Query, Scoring
from negmine_server.index.pages import View, gather
from negmine_server.scan import cpu
from scan_contract import Backend, ScanContract
from scan_items import SCORINGS, anchors, items


class Cpu(Backend):
    def top_r(self, view: View, query: Query, r: int, bits: int, metric: Metric, **options: Any) -> Candidates:
        return cpu.top_r(view, query, r, bits, metric, **options)


@pytest.fixture
def backend() -> Backend:
    return Cpu()


class TestCpu(ScanContract):
    pass


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("scoring", SCORINGS)
def test_pairs_score_as_the_scan_does(backend: Backend, scoring: Scoring, metric: Metric) -> None:
    rng = np.random.default_rng(8)
    rows = backend.filled(items(rng, 300, 3), 3)
    query = anchors(rng, 4, 3, scoring)
    found = backend.check(rows, query, 300, metric)
    located = rows.locate(found.ids.reshape(-1))
    index = np.repeat(np.arange(4), 300)
    scores = cpu.score_pairs(located.view, query, index, located.rows, metric)
    np.testing.assert_array_equal(scores.reshape(4, 300), found.scores)
    mixed = np.array([3, 1, 3])
    np.testing.assert_array_equal(
        cpu.score_pairs(located.view, query, mixed, located.rows[[900, 300, 901]], metric),
        found.scores[[3, 1, 3], [0, 0, 1]],
    )


@pytest.mark.parametrize("scoring", [Scoring.SYMMETRIC, Scoring.ASYMMETRIC, Scoring.FLOAT])
def test_scans_beside_a_writer_return_each_id_once(backend: Backend, scoring: Scoring) -> None:
    rng = np.random.default_rng(11)
    batch = items(rng, 600, 2)
    rows = backend.filled(batch, 2)
    query = anchors(rng, 2, 2, scoring)
    stop, failures = threading.Event(), []

    def search() -> None:
        scans = 0
        while not failures and (scans < 5 or not stop.is_set()):
            got = cpu.top_r(rows.view, query, 700, 128, Metric.COSINE)
            scans += 1
            if any(np.sort(got.ids[q, : got.counts[q]]).tolist() != sorted(batch.ids.tolist()) for q in range(2)):
                failures.append(got)

    searchers = [threading.Thread(target=search) for _ in range(2)]
    for searcher in searchers:
        searcher.start()
    for step in range(200):
        chosen = rng.permutation(600)[:150]
        columns = gather((located := rows.locate(batch.ids[chosen])).view, located.rows)
        rows.apply(Batch(**{**columns, "versions": np.full(150, 100 + step), "codes": columns["codes"][::-1].copy()}))
    stop.set()
    for searcher in searchers:
        searcher.join()
    assert not failures
