"""Exact scores and the float scan against plain numpy, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from negmine_server.domain import Batch, Query, Scoring, VectorStore
from negmine_server.index.pages import STORE_DTYPES, View
from negmine_server.index.rows import Rows
from negmine_server.scan import floats
from negmine_server.scan.admission import filters_of
from negmine_server.scan.floats import exact_scores, scan_floats
from negmine_server.scan.plan import Plan, everything
from negmine_server.scan.reference import fixed_order_dot
from negmine_server.scan.topr import finish, open_buffers
from negmine_server.storage.scratch import arrays_on_disk
from scan_items import admitting_all

DIMENSION = 37
PAGE = 128
STORES = list(STORE_DTYPES)


class Held:
    """Rows 0 … n - 1 with ids in order, and what numpy makes of them."""

    def __init__(self, n: int, store: VectorStore, *, scaled: bool = True, folder: Path | None = None) -> None:
        rng = np.random.default_rng(n)
        vectors = (rng.standard_normal((n, DIMENSION)) * 30).astype(STORE_DTYPES[store])
        scales = rng.uniform(0.01, 0.05, n).astype(np.float32) if store is VectorStore.INT8 and scaled else None
        zeros = np.zeros(n, np.int64)
        allocate = np.zeros if folder is None else arrays_on_disk(folder)
        rows = Rows(1, store, DIMENSION, page_rows=PAGE, allocate_vectors=allocate)
        codes = np.zeros((n, 1), np.uint64)
        rows.apply(Batch(ids=np.arange(n), versions=zeros, codes=codes, vectors=vectors, scales=scales))
        self.view = rows.view
        self.rows = rows.locate(np.arange(n)).rows
        self._vectors, self._scales = vectors.astype(np.float32), scales

    def scores(self, anchors: Any) -> Any:
        """[B, n]"""
        dots = np.stack([fixed_order_dot(self._vectors, anchor) for anchor in anchors])
        return dots if self._scales is None else dots * self._scales


def anchors(b: int) -> Any:
    return np.random.default_rng(b).standard_normal((b, DIMENSION)).astype(np.float32)


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (3, 5), (7, 64), (50, 1)])
def test_scattered_rows_score_as_numpy_says(store: VectorStore, shape: tuple[int, int]) -> None:
    held, asked = Held(300, store), anchors(shape[0])
    items = np.random.default_rng(0).integers(0, 300, shape)
    expected = np.take_along_axis(held.scores(asked), items, axis=1)
    np.testing.assert_array_equal(exact_scores(held.view, held.rows[items], asked), expected)


@pytest.mark.parametrize("store", STORES)
def test_a_missing_row_scores_minus_infinity_wherever_it_stands(store: VectorStore) -> None:
    held, asked = Held(200, store), anchors(3)
    items = np.random.default_rng(1).integers(0, 200, (3, 11))
    missing = np.random.default_rng(2).random((3, 11)) < 0.4
    expected = np.where(missing, -np.inf, np.take_along_axis(held.scores(asked), items, axis=1))
    np.testing.assert_array_equal(exact_scores(held.view, np.where(missing, -1, held.rows[items]), asked), expected)


@pytest.mark.parametrize("store", STORES)
def test_vectors_on_disk_score_the_same(store: VectorStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floats, "_DISK_ROWS", 25)  # several portions
    held, asked = Held(300, store, folder=tmp_path), anchors(7)
    items = np.random.default_rng(3).integers(-1, 300, (7, 11))
    expected = np.where(items < 0, -np.inf, np.take_along_axis(held.scores(asked), items, axis=1))
    np.testing.assert_array_equal(exact_scores(held.view, np.where(items < 0, -1, held.rows[items]), asked), expected)


@pytest.mark.parametrize("on_disk", [False, True])
def test_no_rows_no_scores(tmp_path: Path, *, on_disk: bool) -> None:
    folder = tmp_path if on_disk else None
    held = Held(10, VectorStore.INT8, folder=folder)
    assert exact_scores(held.view, np.empty((3, 0), np.int64), anchors(3)).shape == (3, 0)
    assert exact_scores(held.view, np.empty((0, 4), np.int64), anchors(0)).shape == (0, 4)


def test_integers_without_scales_count_as_they_are() -> None:
    held, asked = Held(70, VectorStore.INT8, scaled=False), anchors(2)
    found = exact_scores(held.view, np.tile(held.rows, (2, 1)), asked)
    np.testing.assert_array_equal(found, held.scores(asked))


def scan(view: View, plan: Plan, asked: Any, r: int) -> list[dict[int, float]]:
    """What the scan found, by id, for each anchor."""
    b = asked.shape[0]
    query = Query(
        scoring=Scoring.FLOAT,
        codes=np.zeros((b, 1), np.uint64),
        values=None,
        scales=np.ones(b, np.float32),
        vectors=asked,
        **admitting_all(b),
    )
    buffers = open_buffers(query, r, view.rows)
    scan_floats(view, plan, query, filters_of(query), buffers)
    ids, scores = np.full((b, r), -1, np.int64), np.full((b, r), -np.inf, np.float32)
    finish(buffers, ids, scores, np.full((b, r), -1, np.int64))
    found = (zip(ids[q], scores[q], strict=True) for q in range(b))
    return [dict(list(pairs)[: buffers.filled[q]]) for q, pairs in enumerate(found)]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize(("n", "b"), [(1, 1), (63, 4), (130, 5), (700, 3), (700, 9)])
def test_a_scan_finds_the_best(store: VectorStore, n: int, b: int) -> None:
    held, asked = Held(n, store), anchors(b)
    found = scan(held.view, everything(held.view, b), asked, 20)
    for q, scores in enumerate(held.scores(asked)):
        best = np.lexsort((np.arange(n), -scores))[:20]
        assert found[q] == dict(zip(best.tolist(), scores[best].tolist(), strict=True))


def test_a_scan_offers_a_block_only_to_the_anchors_of_its_step() -> None:
    held, asked = Held(500, VectorStore.FLOAT16), anchors(3)
    whole = everything(held.view, 3)
    half, m = 1, whole.blocks.shape[0]
    starts, stops = np.array([0, half]), np.array([half, m])
    plan = Plan(whole.blocks, whole.counts, starts, stops, np.array([0, 2, 3]), np.array([2, 0, 1], np.int32))
    found = scan(held.view, plan, asked, 500)
    expected, edge = held.scores(asked), int(whole.counts[:half].sum())
    for q, (first, last) in enumerate([(0, edge), (edge, 500), (0, edge)]):
        assert found[q] == dict(zip(range(first, last), expected[q, first:last].tolist(), strict=True))
