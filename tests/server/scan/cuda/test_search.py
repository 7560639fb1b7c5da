"""A search on a device against the numpy reference: the contract of every scan, and what only a device has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from negmine_server.domain import Batch, Candidates, Metric, Query, Scoring, VectorStore
from negmine_server.index.pages import View
from negmine_server.index.rows import Rows
from negmine_server.scan import reference
from scan_contract import Backend, ScanContract
from scan_items import DIMENSION, SCORINGS, anchors, items

pytest.importorskip("torch")

from negmine_server.device.pages import DevicePages
from negmine_server.scan.cuda import rounds, search
from negmine_server.scan.cuda.rounds import Span
from negmine_server.scan.cuda.searchers import Searchers

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu

SCANNED = [Scoring.SYMMETRIC, Scoring.ASYMMETRIC]


class Device(Backend):
    """Rows with a mirror on a device, and searches there."""

    page_rows = 256

    def __init__(self, gpu: Gpu) -> None:
        self.gpu, self.searchers = gpu, Searchers()

    def rows(self, words: int, store: VectorStore = VectorStore.NONE, page_rows: int = 0) -> Rows:
        mirror = DevicePages(self.gpu, words, store, DIMENSION, page_rows := max(page_rows, self.page_rows))
        return Rows(words, store, DIMENSION, page_rows=page_rows, mirror=mirror)

    def top_r(self, view: View, query: Query, r: int, bits: int, metric: Metric, **options: Any) -> Candidates:
        assert bits == view.words * 64
        return self.searchers.of(self.gpu, view.words, metric).top_r(view, query, r, **options)


@pytest.fixture
def backend(gpu: Gpu) -> Backend:
    return Device(gpu)


class TestSearch(ScanContract):
    pass


@pytest.fixture
def tight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Buffers so small that nearly every round overflows."""
    monkeypatch.setattr(search, "UNITS_MAX", 80)  # those of one tile for five anchors
    monkeypatch.setattr(search, "capacity_of", lambda r: r + 256)
    monkeypatch.setattr(rounds, "capacity_of", lambda r: r + 256)


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize("codes", [0, 1, 20])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_overflowing_buffers_change_nothing(backend: Backend, scoring: Scoring, codes: int) -> None:
    rng = np.random.default_rng(codes)
    rows = backend.filled(items(rng, 2500, 1, codes=codes), 1, page_rows=512)
    query = anchors(rng, 5, 1, scoring)
    before = search._REPEATED._value.get()
    for r in (1, 40):
        backend.check(rows, query, r, Metric.COSINE)
    if codes != 1:  # of equal scores few come before the lowest ids
        assert search._REPEATED._value.get() > before


@pytest.mark.usefixtures("tight")
@pytest.mark.parametrize("scoring", SCANNED)
def test_overflows_with_filters_and_a_cursor(backend: Backend, scoring: Scoring) -> None:
    rng = np.random.default_rng(1)
    rows = backend.filled(items(rng, 2000, 2, codes=300), 2)
    query = anchors(rng, 4, 2, scoring)
    found = reference.top_r(rows.view, query, 500, 128, Metric.COSINE)
    cut = replace(
        query,
        after_scores=found.scores[:, 400].copy(),
        after_ids=found.ids[:, 400].copy(),
        exclude_groups=np.arange(4),
        require_tags=np.full(4, 1, np.uint64),
    )
    backend.check(rows, cut, 30, Metric.COSINE)


@pytest.mark.parametrize("scoring", SCANNED)
def test_more_anchors_than_a_search_takes(backend: Backend, scoring: Scoring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_ANCHORS_MAX", 7)
    rng = np.random.default_rng(2)
    rows = backend.filled(items(rng, 400, 1), 1)
    backend.check(rows, anchors(rng, 23, 1, scoring), 12, Metric.COSINE, rescored=True)


def test_no_anchors(backend: Backend) -> None:
    rng = np.random.default_rng(3)
    rows = backend.filled(items(rng, 40, 1), 1)
    assert backend.top_r(rows.view, anchors(rng, 0, 1, Scoring.SYMMETRIC), 5, 64, Metric.COSINE).ids.shape == (0, 5)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_a_search_sees_the_rows_of_its_view(backend: Backend, scoring: Scoring) -> None:
    """Rows are overwritten, deleted and added after the view was taken; the view still answers as it did."""
    rng = np.random.default_rng(4)
    batch = items(rng, 600, 2)
    rows = backend.filled(batch, 2)
    query = anchors(rng, 3, 2, scoring)
    view = rows.view
    expected = reference.top_r(view, query, 50, 128, Metric.COSINE)
    rows.apply(Batch(ids=batch.ids[::3].copy(), versions=np.full(200, 99)))
    rows.apply(replace(items(rng, 600, 2), versions=np.full(600, 100)))
    got = backend.top_r(view, query, 50, 128, Metric.COSINE)
    np.testing.assert_array_equal(got.ids, expected.ids)
    np.testing.assert_array_equal(got.scores, expected.scores)
    backend.check(rows, query, 50, Metric.COSINE)


def test_one_wait_a_search(backend: Device) -> None:
    rng = np.random.default_rng(5)
    rows = backend.filled(items(rng, 3000, 2), 2, page_rows=1024)
    query = anchors(rng, 4, 2, Scoring.SYMMETRIC)
    before = backend.gpu._syncs._value.get()
    backend.check(rows, query, 20, Metric.COSINE)
    assert backend.gpu._syncs._value.get() == before + 1
    assert len(rounds.spans(12, 4, 20)) == 1
    assert rounds.spans(100, 4, 20)[:2] == [Span(0, 17), Span(17, 100)]
