"""Every scanner in a whole search against the numpy reference, and which of them a device is given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from negmine_server.domain import Metric, Scoring, VectorStore
from negmine_server.index.rows import Rows
from negmine_server.scan import reference
from scan_items import DIMENSION, anchors, items

pytest.importorskip("torch")
pytest.importorskip("triton")

from negmine_server.device.pages import DevicePages
from negmine_server.scan.cuda import popc
from negmine_server.scan.cuda.scanners import named, scanners_of
from negmine_server.scan.cuda.search import Searcher
from negmine_server.scan.cuda.workspace import Workspaces

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu
    from negmine_server.domain import Query

SYMMETRIC, ASYMMETRIC = Scoring.SYMMETRIC, Scoring.ASYMMETRIC
NAMES = [("b1", SYMMETRIC), ("int8", SYMMETRIC), ("popc", SYMMETRIC), ("int8", ASYMMETRIC), ("planes", ASYMMETRIC)]
every_scanner = pytest.mark.parametrize(("name", "scoring"), NAMES)


def searcher_with(gpu: Gpu, name: str, scoring: Scoring, words: int, metric: Metric = Metric.COSINE) -> Searcher:
    scanner = named(name, gpu, words, symmetric=scoring is SYMMETRIC)
    scanners = scanners_of(gpu, words)
    scanners = replace(scanners, **{scoring.name.lower(): scanner})
    assert scanners.of(scoring) is scanner
    return Searcher(gpu, metric, scanners, Workspaces(gpu))


def filled(gpu: Gpu, n: int, words: int, codes: int = 0) -> Rows:
    mirror = DevicePages(gpu, words, VectorStore.FLOAT32, DIMENSION, 256)
    rows = Rows(words, VectorStore.FLOAT32, DIMENSION, page_rows=256, mirror=mirror)
    rows.apply(items(np.random.default_rng(n), n, words, codes=codes))
    return rows


def check(searcher: Searcher, rows: Rows, query: Query, r: int) -> None:
    found = searcher.top_r(rows.view, query, r)
    expected = reference.top_r(rows.view, query, r, 64 * rows.view.words, searcher.metric)
    for field in ("ids", "scores", "versions", "counts", "above"):
        np.testing.assert_array_equal(getattr(found, field), getattr(expected, field), field)


@every_scanner
@pytest.mark.parametrize("words", [1, 3, 4])
def test_widths(gpu: Gpu, name: str, scoring: Scoring, words: int) -> None:
    rows, query = filled(gpu, 700, words), anchors(np.random.default_rng(words), 5, words, scoring)
    check(searcher_with(gpu, name, scoring, words), rows, query, 20)


@every_scanner
@pytest.mark.parametrize("b", [1, 17, 70])
def test_numbers_of_anchors_and_ties(gpu: Gpu, name: str, scoring: Scoring, b: int) -> None:
    """Weighed by norms besides, with a floor and a cursor."""
    rows, query = filled(gpu, 1500, 2, codes=60), anchors(np.random.default_rng(b), b, 2, scoring)
    searcher = searcher_with(gpu, name, scoring, 2, Metric.INNER_PRODUCT)
    check(searcher, rows, query, 40)
    best = reference.top_r(rows.view, query, 600, 128, Metric.INNER_PRODUCT)
    cut = replace(query, after_scores=best.scores[:, 9].copy(), after_ids=best.ids[:, 9].copy())
    check(searcher, rows, replace(cut, floors=best.scores[:, 500].copy()), 500)


def test_values_of_four_bits(gpu: Gpu) -> None:
    rows, query = filled(gpu, 700, 4), anchors(np.random.default_rng(0), 20, 4, ASYMMETRIC, magnitude=7)
    assert query.values.min() == -8
    assert query.values.max() == 7
    check(searcher_with(gpu, "planes4", ASYMMETRIC, 4), rows, query, 30)


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0), (10, 0)])
@pytest.mark.parametrize("scoring", [SYMMETRIC, ASYMMETRIC])
def test_scanners_of_a_capability(
    gpu: Gpu, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], scoring: Scoring
) -> None:
    """Each device's own scanners find what the reference does."""
    if gpu.captures:
        pytest.skip("a card is of one capability")
    monkeypatch.setattr(gpu, "capability", capability)
    rows, query = filled(gpu, 600, 2), anchors(np.random.default_rng(1), 9, 2, scoring)
    searcher = Searcher(gpu, Metric.COSINE, scanners_of(gpu, 2), Workspaces(gpu))
    searcher.prepare()
    check(searcher, rows, query, 25)


def test_steps_are_padded_to_what_is_scanned_at_once(gpu: Gpu) -> None:
    for words in (1, 8, 20):
        few = popc.variants(words)[0].slots
        for name in ("popc", "planes"):
            scanner = named(name, gpu, words)
            assert (scanner.unit_rows, scanner.multiple, scanner.slots_max) == (16, few, popc.PROBED_SLOTS)
        b1 = named("b1", gpu, words)
        assert (b1.unit_rows, b1.multiple) == (16, 16)
        assert b1.slots_max >= 64
