"""The kernels of selection against the numpy reference, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cuda_emulator.emulated import without_compiler
from negmine_server.domain import NO_GROUP, NO_ID, Batch, Candidates, Metric, Query, Scoring, VectorStore
from negmine_server.index.pages import Column, View
from negmine_server.scan import reference
from negmine_server.scan.cuda.block import Overflow
from scan_contract import FILTERS, filtered
from scan_items import DTYPES, SCORINGS, anchors, items
from selection_house import Grown, Limits, Memory, Search

pytestmark = without_compiler

CODES = [Scoring.SYMMETRIC, Scoring.ASYMMETRIC]


def grown(batch: Batch, words: int = 2, store: VectorStore = VectorStore.FLOAT32) -> Grown:
    rows = Grown(words, store)
    rows.apply(batch)
    return rows


def check(
    rows: Grown,
    query: Query,
    r: int,
    metric: Metric = Metric.COSINE,
    limits: Limits | None = None,
    *,
    view: View | None = None,
    rescored: bool = False,
) -> Search:
    """Searches a view, the newest if none is given, and compares."""
    view = view or rows.rows.view
    search = Search(Memory(rows, view), query, r, metric, limits or Limits(capacity=max(1024, r + 256)))
    same(search.run(rescored=rescored), reference.top_r(view, query, r, 64 * view.words, metric, rescored=rescored))
    return search


def same(got: Candidates, expected: Candidates) -> None:
    for name in ("counts", "above", "ids", "versions"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
    for name in ("scores", "rescored"):
        if (wanted := getattr(expected, name)) is not None:
            np.testing.assert_array_equal(bits_of(getattr(got, name)), bits_of(wanted), name)


def bits_of(scores: Any) -> Any:
    return np.where(np.isnan(scores), np.float32(np.nan), scores).view(np.uint32)


@pytest.mark.parametrize("unit_rows", [16, 64])
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("scoring", SCORINGS)
def test_results_are_those_of_the_reference(scoring: Scoring, metric: Metric, unit_rows: int) -> None:
    rng = np.random.default_rng(unit_rows)
    rows = grown(items(rng, 1000, 3), 3)
    query = anchors(rng, 3, 3, scoring)
    for r in (1, 20, 1007):
        check(rows, query, r, metric, Limits(capacity=r + 600, unit_rows=unit_rows, firsts=(1, 2)), rescored=r == 20)


@pytest.mark.parametrize("scoring", CODES)
@pytest.mark.parametrize("words", [1, 2, 5, 16])
def test_widths(words: int, scoring: Scoring) -> None:
    rng = np.random.default_rng(words)
    for metric in Metric:
        check(grown(items(rng, 300, words), words), anchors(rng, 2, words, scoring), 9, metric)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("codes", [1, 5])
def test_ties_are_broken_by_id(scoring: Scoring, codes: int) -> None:
    rng = np.random.default_rng(codes)
    batch = items(rng, 900, 1, codes=codes)
    rows = grown(replace(batch, norms=None, ids=batch.ids * 2**40 + 7), 1)
    for r in (1, 150, 600):
        search = check(rows, anchors(rng, 2, 1, scoring), r)
        assert search.trace.overflows == [0, 0]


def test_zeros_of_either_sign_are_one_score() -> None:
    rng = np.random.default_rng(1)
    batch = items(rng, 600, 1)
    signs = np.where(rng.random(600) < 0.5, np.float32(-0.0), np.float32(0.0))
    near = rng.random(600) < 0.1
    corrections = np.where(near, np.float32(1e-3), signs)
    for r in (5, 300):
        check(grown(replace(batch, corrections=corrections), 1), anchors(rng, 3, 1, Scoring.ASYMMETRIC), r)


def test_corrections_and_scales_that_turn_or_take_scores_away() -> None:
    rng = np.random.default_rng(2)
    batch = items(rng, 600, 1)
    query = replace(anchors(rng, 3, 1, Scoring.ASYMMETRIC), scales=np.array([0, 1e-30, 1e30], np.float32))
    rows = grown(replace(batch, corrections=rng.standard_normal(600).astype(np.float32)), 1)
    check(rows, query, 50)
    norms = np.where(rng.random(600) < 0.3, 0, rng.uniform(0, 1e-20, 600)).astype(np.float32)
    flat = replace(query, scoring=Scoring.SYMMETRIC)
    for r in (50, 400):
        check(grown(replace(batch, norms=norms), 1), flat, r, Metric.INNER_PRODUCT)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("names", [*((name,) for name in FILTERS), FILTERS])
def test_filters(names: tuple[str, ...], scoring: Scoring) -> None:
    rng = np.random.default_rng(5)
    rows = grown(items(rng, 600, 2, codes=200))
    rows.apply(Batch(ids=np.arange(0, 900, 9), versions=np.full(100, 99)))
    query = anchors(rng, 6, 2, scoring)
    for metric in Metric:
        scores = reference.top_r(rows.rows.view, query, 600, 128, metric).scores
        check(rows, filtered(rng, query, names, scores), 30, metric)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_floors_below_above_and_between_all_scores(scoring: Scoring) -> None:
    rng = np.random.default_rng(6)
    rows = grown(items(rng, 300, 2))
    query = anchors(rng, 5, 2, scoring)
    floors = np.array([-np.inf, -1e30, 0, 1e30, np.inf], np.float32)
    for metric in Metric:
        search = check(rows, replace(query, floors=floors), 400, metric)
        assert search.arrays["counts"][3:].tolist() == [0, 0]


def test_pages_without_optional_columns() -> None:
    rng = np.random.default_rng(7)
    bare = replace(items(rng, 200, 2), groups=None, tags=None, norms=None, vectors=None)
    rows = grown(bare, store=VectorStore.NONE)
    for scoring in CODES:
        query = replace(anchors(rng, 3, 2, scoring), exclude_groups=np.array([0, 1, NO_GROUP]))
        tagged = replace(query, require_tags=np.array([0, 1, 0], np.uint64))
        for metric in Metric:
            check(rows, tagged, 50, metric)


@pytest.mark.parametrize("scoring", SCORINGS)
def test_older_views_see_neither_what_came_nor_what_went_since(scoring: Scoring) -> None:
    rng = np.random.default_rng(8)
    rows = grown(items(rng, 300, 2))
    views = [rows.rows.view]
    for step in range(3):
        changed = items(rng, 120, 2)
        rows.apply(replace(changed, ids=changed.ids + 100 * step, versions=np.full(120, 100 + step)))
        views.append(rows.rows.view)
        rows.apply(Batch(ids=np.arange(0, 900, 13), versions=np.full(70, 200 + step)))
        views.append(rows.rows.view)
    query = anchors(rng, 2, 2, scoring)
    for view in (views[0], views[1], views[4], views[6]):
        check(rows, query, 700, view=view)


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("seed", [0, 3])
def test_rounds_that_overflow_are_done_again_and_nothing_is_lost(scoring: Scoring, seed: int) -> None:
    rng = np.random.default_rng(9)
    rows = grown(items(rng, 1700, 1, codes=900), 1)
    query = anchors(rng, 3, 1, scoring)
    scores = reference.top_r(rows.rows.view, query, 1700, 64, Metric.COSINE).scores
    for names in ((), ("cursor",), FILTERS):
        for r in (1, 40, 300):
            limits = Limits(capacity=r + 256, firsts=(), seed=seed)
            search = check(rows, filtered(rng, query, names, scores), r, Metric.COSINE, limits)
            assert names or Overflow.CANDIDATES in search.trace.overflows


@pytest.mark.parametrize("scoring", CODES)
def test_units_that_overflow_are_found_again(scoring: Scoring) -> None:
    rng = np.random.default_rng(10)
    rows = grown(items(rng, 1300, 1), 1)
    search = check(rows, anchors(rng, 4, 1, scoring), 30, Metric.COSINE, Limits(units_max=70, firsts=()))
    assert Overflow.UNITS in search.trace.overflows


def test_a_dropped_round_raises_the_bars() -> None:
    rng = np.random.default_rng(11)
    rows = grown(items(rng, 1500, 1), 1)
    query = anchors(rng, 2, 1, Scoring.SYMMETRIC)
    search = Search(Memory(rows), query, 20, Metric.COSINE, Limits(capacity=276, firsts=()))
    best = reference.top_r(rows.rows.view, query, 20, 64, Metric.COSINE)
    same(search.run(), best)
    assert search.trace.overflows[0] == Overflow.CANDIDATES
    assert (search.arrays["bar_scores"] == best.scores[:, -1]).all()
    assert (search.arrays["bar_ids"] == best.ids[:, -1]).all()


@pytest.mark.parametrize("store", list(DTYPES))
def test_stored_vectors_of_every_kind(store: VectorStore) -> None:
    rng = np.random.default_rng(12)
    rows = grown(items(rng, 500, 2, store), store=store)
    for scoring in SCORINGS:
        check(rows, anchors(rng, 3, 2, scoring), 33, rescored=True)


@pytest.mark.parametrize("store", list(DTYPES))
@pytest.mark.parametrize("dimension", [1, 16, 129, 1031])
def test_vectors_of_any_length(dimension: int, store: VectorStore) -> None:
    rng = np.random.default_rng(dimension)
    rows = Grown(1, store, dimension=dimension, page_rows=256)
    vectors = (rng.standard_normal((300, dimension)) * 30).astype(DTYPES[store])
    rows.apply(replace(items(rng, 300, 1, store), vectors=vectors))
    longer = rng.standard_normal((2, dimension)).astype(np.float32)
    for scoring in (Scoring.SYMMETRIC, Scoring.FLOAT):
        check(rows, replace(anchors(rng, 2, 1, scoring), vectors=longer), 33, rescored=True)


def test_integers_without_scales_count_as_they_are() -> None:
    rng = np.random.default_rng(13)
    rows = grown(replace(items(rng, 300, 2, VectorStore.INT8), scales=None), store=VectorStore.INT8)
    for scoring in SCORINGS:
        check(rows, anchors(rng, 2, 2, scoring), 20, rescored=True)


def test_what_has_no_vector_has_no_exact_score() -> None:
    rng = np.random.default_rng(14)
    memory = Memory(grown(items(rng, 40, 2)))
    memory.directory[Column.VECTORS] = 0
    search = Search(memory, anchors(rng, 2, 2, Scoring.SYMMETRIC), 50, Metric.COSINE, Limits())
    exact = search.run(rescored=True).rescored
    assert exact is not None
    assert np.isnan(exact[:, :40]).all()
    assert np.isneginf(exact[:, 40:]).all()
    nothing = Search(memory, anchors(rng, 2, 2, Scoring.FLOAT), 50, Metric.COSINE, Limits()).run()
    assert nothing.counts.tolist() == [0, 0]


@pytest.mark.parametrize("scoring", SCORINGS)
def test_many_anchors(scoring: Scoring) -> None:
    rng = np.random.default_rng(15)
    check(grown(items(rng, 280, 1), 1), anchors(rng, 70, 1, scoring), 3, Metric.INNER_PRODUCT)


def test_more_results_than_fit_in_shared_memory() -> None:
    rng = np.random.default_rng(16)
    rows = grown(items(rng, 9000, 1, codes=4000), 1)
    for r in (4500, 8192, 16_384):
        check(rows, anchors(rng, 1, 1, Scoring.ASYMMETRIC), r, Metric.COSINE, Limits(capacity=20_000, firsts=(20,)))


def test_a_probed_scan_offers_a_tile_to_its_anchors_alone() -> None:
    rng = np.random.default_rng(17)
    rows = grown(items(rng, 1000, 2))
    query, view = anchors(rng, 4, 2, Scoring.FLOAT), rows.rows.view
    slots = np.array([2, 0, -1, -1, 3, 1, 2, 0], np.int32)
    works = [(3, 0, 4, 0), (0, 4, 4, 0)]
    search = Search(Memory(rows), query, 600, Metric.COSINE, Limits(firsts=(1,)), (slots, works))
    got = search.run()
    all_rows = reference.top_r(view, query, 1000, 128, Metric.COSINE)
    located = rows.rows.locate(all_rows.ids.reshape(-1)).rows.reshape(4, 1000)
    seen = (located < 256) | ((located >= 768) & np.isin(np.arange(4), [0, 2])[:, None])
    for q in range(4):
        wanted = all_rows.ids[q, seen[q]]
        assert got.ids[q, : got.counts[q]].tolist() == wanted.tolist()
        assert (got.ids[q, got.counts[q] :] == NO_ID).all()
