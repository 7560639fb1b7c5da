"""A probed scan equals the reference over the probed buckets' rows and the loose ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.domain import NO_ID, Batch, Metric, Query, Scoring, VectorStore
from negmine_server.index.buckets import bucket_of
from negmine_server.index.pages import View, gather
from negmine_server.index.rows import Rows
from negmine_server.scan import cpu, reference
from negmine_server.scan.probing import probed

DIMENSION, WORDS = 21, 2
BITS = 64 * WORDS


def filled(rng: np.random.Generator, n: int, buckets: int, *, worn: bool = True, codes: int = 0) -> Rows:
    """Rows of many buckets, 0 = loose among them; some were overwritten, moved or deleted."""
    rows = Rows(WORDS, VectorStore.FLOAT32, DIMENSION, page_rows=512)
    rows.apply(batch(rng, np.arange(n), codes))
    for _ in range(2):
        view = rows.view
        there = view.everything()
        rows.move(view, there, rng.integers(0, buckets, there.shape[0]) * 7)
        if worn and n:
            rows.apply(batch(rng, rng.choice(n, n // 8, replace=False), codes))
            gone = rng.choice(n, n // 10, replace=False)
            rows.apply(Batch(ids=gone, versions=np.full(gone.shape[0], 9)))
    return rows


def batch(rng: np.random.Generator, ids: np.ndarray, codes: int) -> Batch:
    n = ids.shape[0]
    pool = rng.integers(0, 2**64, (codes or max(n, 1), WORDS), dtype=np.uint64)
    return Batch(
        ids=ids,
        versions=np.zeros(n, np.int64),
        codes=pool[rng.integers(0, pool.shape[0], n)],
        corrections=np.ones(n, np.float32) if codes else rng.uniform(0.8, 1.3, n).astype(np.float32),
        norms=rng.uniform(0.1, 4, n).astype(np.float32),
        groups=rng.integers(0, 4, n),
        vectors=rng.standard_normal((n, DIMENSION)).astype(np.float32),
    )


def anchors(rng: np.random.Generator, b: int, scoring: Scoring) -> Query:
    return Query(
        scoring=scoring,
        codes=rng.integers(0, 2**64, (b, WORDS), dtype=np.uint64),
        values=rng.integers(-128, 128, (b, BITS)).astype(np.int8),
        scales=rng.uniform(0.1, 3, b).astype(np.float32),
        vectors=rng.standard_normal((b, DIMENSION)).astype(np.float32),
        after_scores=np.full(b, np.inf, np.float32),
        after_ids=np.full(b, -1, np.int64),
        floors=np.full(b, -np.inf, np.float32),
        exclude_groups=rng.integers(-1, 4, b),
        require_tags=np.zeros(b, np.uint64),
        forbid_tags=np.zeros(b, np.uint64),
        min_steps=np.zeros(b, np.int64),
    )


def restricted(view: View, rows: Rows, probes: np.ndarray) -> Rows:
    """Only the rows of some buckets, and the loose ones."""
    there = view.everything()
    items = gather(view, there)
    owners = bucket_of(rows.locate(items["ids"]))
    kept = np.isin(owners, [0, *probes.tolist()])
    only = Rows(WORDS, VectorStore.FLOAT32, DIMENSION, page_rows=512)
    if kept.any():
        only.apply(Batch(**{name: values[kept] for name, values in items.items()}))
    return only


def check(rows: Rows, query: Query, probes: np.ndarray, r: int, metric: Metric, *, rescored: bool = False) -> None:
    view = rows.view
    plan = probed(view, probes)
    got = cpu.top_r(view, replace(query, probes=probes), r, BITS, metric, plan=plan, rescored=rescored)
    for anchor in range(query.rows):
        only = restricted(view, rows, probes[anchor])
        one = query.take(slice(anchor, anchor + 1))
        expected = reference.top_r(only.view, one, r, BITS, metric, rescored=rescored)
        for name in ("ids", "scores", "rescored", "versions", "counts", "above"):
            if getattr(expected, name) is not None:
                part = getattr(got, name)[anchor : anchor + 1]
                np.testing.assert_array_equal(part, getattr(expected, name), f"{name} of anchor {anchor}")


@pytest.mark.parametrize("scoring", list(Scoring))
@pytest.mark.parametrize("metric", list(Metric))
def test_equals_the_reference_over_the_probed_rows(scoring: Scoring, metric: Metric) -> None:
    rng = np.random.default_rng(1)
    rows = filled(rng, 1500, 12)
    for b, width in ((1, 1), (7, 4), (40, 9)):
        probes = np.argsort(rng.random((b, 12)), axis=1)[:, :width] * 7
        check(rows, anchors(rng, b, scoring), np.where(probes == 0, -1, probes), 25, metric)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32), st.integers(1, 400), st.integers(1, 9), st.integers(1, 12), st.sampled_from(list(Scoring))
)
def test_any_probes(seed: int, n: int, buckets: int, width: int, scoring: Scoring) -> None:
    """Ties, unknown buckets, and fewer of them than there are places."""
    rng = np.random.default_rng(seed)
    rows = filled(rng, n, buckets, codes=7)
    known = 7 * np.arange(1, 16)  # most are unknown
    probes = np.stack([rng.permutation(known)[:width] for _ in range(5)])
    probes[rng.random(probes.shape) < 0.3] = -1
    check(rows, anchors(rng, 5, scoring), probes, 10, Metric.COSINE)


def test_a_continued_scan_and_exact_scores() -> None:
    rng = np.random.default_rng(2)
    rows = filled(rng, 900, 6)
    probes = np.tile([7, 21], (4, 1))
    query = anchors(rng, 4, Scoring.ASYMMETRIC)
    check(rows, query, probes, 20, Metric.COSINE, rescored=True)
    first = cpu.top_r(rows.view, query, 20, BITS, Metric.COSINE, plan=probed(rows.view, probes))
    later = replace(query, after_scores=first.scores[:, -1].copy(), after_ids=first.ids[:, -1].copy())
    check(rows, later, probes, 20, Metric.COSINE)
    check(rows, replace(query, floors=first.scores[:, 5].copy()), probes, 20, Metric.COSINE)


def test_only_loose_rows_without_probes() -> None:
    rng = np.random.default_rng(3)
    rows = filled(rng, 600, 4)
    query = anchors(rng, 3, Scoring.SYMMETRIC)
    for probes in (np.full((3, 4), -1), np.full((3, 2), 10**12), np.empty((3, 0), np.int64)):
        check(rows, query, probes, 10, Metric.COSINE)


def test_no_anchors_and_no_rows() -> None:
    rng = np.random.default_rng(4)
    rows = filled(rng, 300, 4)
    none = cpu.top_r(
        rows.view,
        anchors(rng, 0, Scoring.SYMMETRIC),
        5,
        BITS,
        Metric.COSINE,
        plan=probed(rows.view, np.empty((0, 3), np.int64)),
    )
    assert none.ids.shape == (0, 5)
    empty = Rows(WORDS, VectorStore.FLOAT32, DIMENSION, page_rows=512)
    probes = np.array([[7, -1], [14, 7]])
    plan = probed(empty.view, probes)
    assert (plan.rows, plan.pairs) == (0, 0)
    found = cpu.top_r(empty.view, anchors(rng, 2, Scoring.ASYMMETRIC), 5, BITS, Metric.COSINE, plan=plan)
    assert (found.ids == NO_ID).all()


def test_all_buckets_are_an_exhaustive_scan() -> None:
    rng = np.random.default_rng(5)
    rows = filled(rng, 1000, 9)
    probes = np.tile(7 * np.arange(1, 30), (6, 1))
    query = anchors(rng, 6, Scoring.ASYMMETRIC)
    got = cpu.top_r(rows.view, query, 30, BITS, Metric.COSINE, plan=probed(rows.view, probes))
    whole = cpu.top_r(rows.view, query, 30, BITS, Metric.COSINE)
    assert np.array_equal(got.ids, whole.ids)
    assert np.array_equal(got.scores, whole.scores)


def test_the_plan_names_each_bucket_once_for_its_anchors() -> None:
    rng = np.random.default_rng(6)
    rows = filled(rng, 1000, 9, worn=False)
    held = rows.view.bucket_rows()
    probes = np.array([[7, 14, 21, -1], [14, 7, 28, 35], [-1, -1, -1, 7]])
    plan = probed(rows.view, probes)
    written = {number: int(rows.view.counts[blocks_of(rows.view, number)].sum()) for number in held}
    assert plan.pairs == 3 * written[0] + 3 * written[7] + 2 * written[14] + written[21] + written[28] + written[35]
    assert plan.queries.shape[0] == 3 + 8
    assert (np.diff(plan.query_offsets) > 0).all()


def blocks_of(view: View, number: int) -> np.ndarray:
    lists = view.allocation.lists
    (slot,) = lists.find(np.array([number]))
    return lists.blocks[lists.offsets[slot] : lists.offsets[slot + 1]]


def test_rows_that_move_during_a_scan_stay_in_its_view() -> None:
    rng = np.random.default_rng(7)
    rows = filled(rng, 800, 6)
    view, probes = rows.view, np.tile([7, 14], (5, 1))
    query = anchors(rng, 5, Scoring.SYMMETRIC)
    plan = probed(view, probes)
    before = cpu.top_r(view, query, 20, BITS, Metric.COSINE, plan=plan)
    for number in range(4):
        now = rows.view
        rows.move(now, now.everything(), np.full(now.rows, 100 + number))
    after = cpu.top_r(view, query, 20, BITS, Metric.COSINE, plan=plan)
    assert np.array_equal(before.ids, after.ids)
    assert np.array_equal(before.scores, after.scores)
