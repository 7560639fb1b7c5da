"""What every scan must answer: that of the numpy reference, bit for bit, whatever it runs on.

A test module derives a class from `ScanContract` and gives it a fixture `backend`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from negmine_server.domain import NO_GROUP, NO_ID, Batch, Candidates, Metric, Query, Scoring, VectorStore
from negmine_server.index.pages import View
from negmine_server.index.rows import Rows
from negmine_server.scan import reference
from scan_items import DIMENSION, DTYPES, SCORINGS, anchors, items


class Backend:
    """A scan under test, and rows that it can scan."""

    page_rows = 128

    def rows(self, words: int, store: VectorStore = VectorStore.NONE, page_rows: int = 0) -> Rows:
        return Rows(words, store, DIMENSION, page_rows=max(page_rows, self.page_rows))

    def top_r(self, view: View, query: Query, r: int, bits: int, metric: Metric, **options: Any) -> Candidates:
        raise NotImplementedError

    def filled(self, batch: Batch, words: int, store: VectorStore = VectorStore.FLOAT32, page_rows: int = 0) -> Rows:
        rows = self.rows(words, store, page_rows)
        rows.apply(batch)
        return rows

    def check(self, rows: Rows, query: Query, r: int, metric: Metric, *, rescored: bool = False) -> Candidates:
        bits = rows.view.words * 64
        got = self.top_r(rows.view, query, r, bits, metric, rescored=rescored)
        expected = reference.top_r(rows.view, query, r, bits, metric, rescored=rescored)
        for name in ("ids", "scores", "rescored", "versions", "counts", "above"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
        assert got.scanned == expected.scanned == rows.view.rows
        assert got.scores.dtype == np.float32
        return got


def filtered(rng: np.random.Generator, query: Query, names: tuple[str, ...], scores: np.ndarray) -> Query:
    """`query` with random filters; thresholds are scores that occur, so that ties at them are tested."""
    b = query.rows
    finite = scores[:, : max(1, int(np.isfinite(scores).sum(axis=1).min()))]
    pick = lambda share: finite[np.arange(b), rng.integers(0, max(1, int(finite.shape[1] * share)), b)]  # noqa: E731
    values = {
        "cursor": {"after_scores": pick(0.5), "after_ids": rng.integers(-1, 1000, b)},
        "floor": {"floors": pick(1.0)},
        "group": {"exclude_groups": rng.integers(NO_GROUP, 4, b)},
        "require": {"require_tags": rng.integers(0, 4, b).astype(np.uint64)},
        "forbid": {"forbid_tags": (rng.integers(0, 4, b) << 2).astype(np.uint64)},
        "step": {"min_steps": rng.integers(0, 60, b)},
    }
    for name in names:
        query = replace(query, **values[name])
    return query


FILTERS = ("cursor", "floor", "group", "require", "forbid", "step")


class ScanContract:
    """The tests."""

    @pytest.mark.parametrize("metric", list(Metric))
    @pytest.mark.parametrize("scoring", SCORINGS)
    @pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 127, 128, 129, 700])
    def test_odd_numbers_of_rows(self, backend: Backend, n: int, scoring: Scoring, metric: Metric) -> None:
        rng = np.random.default_rng(n)
        rows = backend.filled(items(rng, n, 3), 3)
        query = anchors(rng, 5, 3, scoring)
        for r in (1, 7, 64, n + 5):
            backend.check(rows, query, r, metric)

    @pytest.mark.parametrize("metric", list(Metric))
    @pytest.mark.parametrize("scoring", [Scoring.SYMMETRIC, Scoring.ASYMMETRIC])
    @pytest.mark.parametrize("words", [1, 2, 4, 5, 8, 12, 16, 33, 64])
    def test_widths(self, backend: Backend, words: int, scoring: Scoring, metric: Metric) -> None:
        rng = np.random.default_rng(words)
        rows = backend.filled(items(rng, 400, words), words)
        backend.check(rows, anchors(rng, 3, words, scoring), 20, metric)

    @pytest.mark.parametrize("magnitude", [0, 1, 2, 7, 63, 127])
    def test_asymmetric_values_of_any_size(self, backend: Backend, magnitude: int) -> None:
        rng = np.random.default_rng(magnitude)
        rows = backend.filled(items(rng, 300, 2), 2)
        backend.check(rows, anchors(rng, 4, 2, Scoring.ASYMMETRIC, magnitude), 30, Metric.COSINE)

    def test_sign_planes_hold_the_extremes(self, backend: Backend) -> None:
        rng = np.random.default_rng(0)
        rows = backend.filled(items(rng, 100, 1), 1)
        query = anchors(rng, 3, 1, Scoring.ASYMMETRIC)
        query.values[0], query.values[1], query.values[2] = -128, 127, 0
        backend.check(rows, query, 100, Metric.COSINE)

    @pytest.mark.parametrize("store", list(DTYPES))
    def test_stored_vectors_of_every_kind(self, backend: Backend, store: VectorStore) -> None:
        rng = np.random.default_rng(2)
        rows = backend.filled(items(rng, 500, 2, store), 2, store)
        for scoring in SCORINGS:
            backend.check(rows, anchors(rng, 6, 2, scoring), 40, Metric.COSINE, rescored=True)

    @pytest.mark.parametrize("scoring", SCORINGS)
    def test_ties_are_broken_by_id(self, backend: Backend, scoring: Scoring) -> None:
        rng = np.random.default_rng(3)
        rows = backend.filled(replace(items(rng, 900, 1, codes=5), norms=None), 1)
        for r in (1, 10, 150, 600):
            backend.check(rows, anchors(rng, 4, 1, scoring), r, Metric.COSINE)

    @pytest.mark.parametrize("scoring", SCORINGS)
    @pytest.mark.parametrize("descending", [True, False])
    def test_rows_in_order_of_similarity(self, backend: Backend, scoring: Scoring, descending: bool) -> None:
        rng = np.random.default_rng(4)
        batch = items(rng, 2000, 2)
        query = anchors(rng, 1, 2, scoring)
        found = reference.top_r(backend.filled(batch, 2).view, query, 2000, 128, Metric.COSINE)
        place = np.argsort(np.argsort(found.ids[0]))[np.argsort(np.argsort(batch.ids))]
        order = np.argsort(place if descending else -place)
        rows = backend.filled(
            Batch(
                **{
                    name: None if (a := getattr(batch, name)) is None else a[order]
                    for name in ("ids", "versions", "codes", "corrections", "norms", "groups", "tags", "vectors")
                }
            ),
            2,
        )
        for r in (1, 50, 1000):
            backend.check(rows, query, r, Metric.COSINE)

    @pytest.mark.parametrize("metric", list(Metric))
    @pytest.mark.parametrize("scoring", SCORINGS)
    @pytest.mark.parametrize("names", [*((name,) for name in FILTERS), FILTERS])
    def test_filters(self, backend: Backend, names: tuple[str, ...], scoring: Scoring, metric: Metric) -> None:
        rng = np.random.default_rng(5)
        rows = backend.filled(items(rng, 600, 2, codes=200), 2)
        rows.apply(Batch(ids=np.arange(0, 900, 9), versions=np.full(100, 99)))
        query = anchors(rng, 12, 2, scoring)
        scores = reference.top_r(rows.view, query, 600, 128, metric).scores
        for r in (5, 100):
            backend.check(rows, filtered(rng, query, names, scores), r, metric)

    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors, HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_any_mixture_equals_the_reference(self, backend: Backend, data: st.DataObject) -> None:
        rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
        words = data.draw(st.integers(1, 6))
        n = data.draw(st.integers(0, 500))
        scoring, metric = data.draw(st.sampled_from(SCORINGS)), data.draw(st.sampled_from(list(Metric)))
        rows = backend.filled(items(rng, n, words, codes=data.draw(st.sampled_from([0, 3, 50]))), words)
        gone = rng.permutation(n)[: data.draw(st.integers(0, n))] * 3
        if data.draw(st.booleans()):
            rows.apply(Batch(ids=gone, versions=np.full(gone.shape[0], 99)))
        query = anchors(rng, data.draw(st.integers(1, 9)), words, scoring, data.draw(st.sampled_from([3, 127])))
        names = tuple(data.draw(st.sets(st.sampled_from(FILTERS))))
        scores = reference.top_r(rows.view, query, max(1, n), words * 64, metric).scores
        backend.check(rows, filtered(rng, query, names, scores), data.draw(st.integers(1, 300)), metric)

    @pytest.mark.parametrize("scoring", SCORINGS)
    def test_continued_scans_join_into_one(self, backend: Backend, scoring: Scoring) -> None:
        rng = np.random.default_rng(6)
        rows = backend.filled(items(rng, 500, 1, codes=60), 1)
        query = anchors(rng, 6, 1, scoring)
        whole = backend.check(rows, query, 500, Metric.COSINE)
        parts, cursor = [], query
        for start in range(0, 500, 50):
            part = backend.check(rows, cursor, 50, Metric.COSINE)
            assert part.above.tolist() == [start] * 6
            parts.append(part.ids)
            cursor = replace(cursor, after_scores=part.scores[:, -1], after_ids=part.ids[:, -1])
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole.ids)
        assert backend.check(rows, cursor, 50, Metric.COSINE).counts.tolist() == [0] * 6

    @pytest.mark.parametrize("scoring", SCORINGS)
    def test_an_anchor_alone_scores_as_in_a_batch(self, backend: Backend, scoring: Scoring) -> None:
        rng = np.random.default_rng(7)
        rows = backend.filled(items(rng, 1500, 2, VectorStore.FLOAT16), 2, VectorStore.FLOAT16, page_rows=1024)
        query = anchors(rng, 40, 2, scoring)
        whole = backend.check(rows, query, 33, Metric.COSINE, rescored=True)
        alone = backend.top_r(rows.view, query.take(slice(17, 18)), 33, 128, Metric.COSINE, rescored=True)
        np.testing.assert_array_equal(alone.ids[0], whole.ids[17])
        np.testing.assert_array_equal(alone.scores[0], whole.scores[17])
        np.testing.assert_array_equal(alone.rescored[0], whole.rescored[17])

    def test_pages_without_optional_columns(self, backend: Backend) -> None:
        rng = np.random.default_rng(9)
        bare = replace(items(rng, 200, 2), groups=None, tags=None, norms=None, vectors=None)
        rows = backend.rows(2)
        rows.apply(bare)
        for metric in Metric:
            for scoring in (Scoring.SYMMETRIC, Scoring.ASYMMETRIC):
                query = anchors(rng, 3, 2, scoring)
                backend.check(rows, replace(query, exclude_groups=np.array([0, 1, NO_GROUP])), 50, metric)
                tagged = replace(query, require_tags=np.array([0, 1, 0], np.uint64))
                assert backend.check(rows, tagged, 50, metric).counts.tolist() == [50, 0, 50]

    def test_padding_beyond_the_rows_that_are_there(self, backend: Backend) -> None:
        rng = np.random.default_rng(10)
        rows = backend.filled(items(rng, 3, 1), 1)
        got = backend.top_r(rows.view, anchors(rng, 2, 1, Scoring.SYMMETRIC), 16_384, 64, Metric.COSINE, rescored=True)
        assert got.ids.shape == got.scores.shape == got.rescored.shape == (2, 16_384)
        assert got.counts.tolist() == [3, 3]
        assert (got.ids[:, 3:] == NO_ID).all()
        assert np.isneginf(got.scores[:, 3:]).all()
        assert np.isneginf(got.rescored[:, 3:]).all()
