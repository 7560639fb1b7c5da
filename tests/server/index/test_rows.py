"""Rows against a dictionary: versions, tombstones, compaction, snapshots; and readers beside the writer."""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.domain import NO_GROUP, Batch, VectorStore
from negmine_server.errors import InvalidInput
from negmine_server.index import pageset
from negmine_server.index.pages import Page, gather
from negmine_server.index.rows import Outcome, Rows
from row_model import DIMENSION, PAGE, WORDS, Model, batch, contents

steps = st.lists(
    st.one_of(
        st.tuples(st.booleans(), st.dictionaries(st.integers(0, 90), st.integers(0, 4), max_size=70)),
        st.just("restart"),
    ),
    max_size=40,
)


@settings(max_examples=80, deadline=None)
@given(steps)
def test_any_sequence_equals_a_dictionary(sequence: list) -> None:
    rows, model = Rows(WORDS, page_rows=PAGE), Model()
    for serial, step in enumerate(sequence):
        if step == "restart":
            frozen = rows.freeze()
            rows = Rows(WORDS, page_rows=PAGE)
            rows.restore(frozen.parts(37), frozen.tombstones)
        else:
            deletes, items = step
            got = rows.apply(batch(list(items), list(items.values()), serial, deletes=deletes))
            assert got == model.apply(deletes, items, serial)
        assert contents(rows.view) == model.rows
        located = rows.locate(np.arange(91))
        known = [key for key in range(91) if located.rows[key] >= 0]
        assert known == sorted(model.rows)
        assert gather(located.view, located.rows[known])["ids"].tolist() == known
        stats = rows.stats()
        assert (stats.rows, stats.tombstones) == (len(model.rows), len(model.buried))
        assert stats.dead_rows <= stats.pages * PAGE


def test_equal_versions_lose_to_the_later_arrival() -> None:
    rows = Rows(WORDS, page_rows=PAGE)
    assert rows.apply(batch([1], [5], 1)) == Outcome(inserted=1)
    assert rows.apply(batch([1], [5], 2)) == Outcome(overwritten=1)
    assert rows.apply(batch([1], [4], 3)) == Outcome(stale=1)
    assert rows.apply(batch([1, 2], [5, 3], deletes=True)) == Outcome(deleted=1)
    assert rows.apply(batch([1, 2], [4, 2], 4)) == Outcome(stale=2)
    assert rows.apply(batch([1, 2], [5, 3], 5)) == Outcome(inserted=2)
    assert contents(rows.view) == {1: (5, 5), 2: (3, 5)}


def test_a_tombstone_ages_on_the_batches_own_times() -> None:
    rows = Rows(WORDS, page_rows=PAGE, tombstone_age_s=10)
    rows.apply(batch([1], [5], deletes=True, time_ms=1_000))
    assert rows.apply(batch([1], [4], time_ms=11_000)) == Outcome(stale=1)
    assert rows.apply(batch([1], [4], time_ms=11_001)) == Outcome(inserted=1)


def test_an_old_view_stands_still_while_its_rows_are_overwritten_and_compacted() -> None:
    rows = Rows(WORDS, page_rows=PAGE)
    ids = list(range(200))
    rows.apply(batch(ids, [0] * 200, 1))
    before = rows.view
    for serial in range(2, 30):
        rows.apply(batch(ids[:150], [0] * 150, serial))
    rows.apply(batch(ids[:10], [0] * 10, deletes=True))
    assert contents(before) == dict.fromkeys(ids, (0, 1))
    assert contents(rows.view) == {key: (0, 29 if key < 150 else 1) for key in ids[10:]}
    assert rows.stats().pages <= 9
    page = weakref.ref(before.pages[0])
    assert before.pages[0] is not rows.view.pages[0]
    del before
    gc.collect()
    assert page() is None


def test_epochs_start_afresh_before_they_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pageset, "EPOCH_MAX", 6)
    rows = Rows(WORDS, page_rows=PAGE)
    views = []
    for serial in range(20):
        rows.apply(batch([1, 2, serial + 10], [0, 0, 0], serial))
        views.append(rows.view)
    for serial, view in enumerate(views):
        assert view.epoch < 6
        expected = {key + 10: (0, key) for key in range(serial + 1)} | {1: (0, serial), 2: (0, serial)}
        assert contents(view) == expected


def test_optional_columns_come_and_go() -> None:
    rows = Rows(WORDS, VectorStore.INT8, DIMENSION, page_rows=PAGE)
    vectors = np.arange(3 * DIMENSION, dtype=np.int8).reshape(3, DIMENSION)
    scales = np.array([0.5, 1, 2], np.float32)
    rows.apply(batch([1, 2, 3], [0, 0, 0], vectors=vectors, scales=scales))
    extra = {
        "groups": np.array([7, NO_GROUP, 0]),
        "tags": np.array([1, 2, 2**63], np.uint64),
        "uncertainties": np.array([0.1, np.nan, 0.3], np.float32),
        "norms": np.array([2, 3, 4], np.float32),
    }
    rows.apply(batch([4, 5, 6], [0, 0, 0], vectors=vectors, scales=scales, **extra))
    frozen = rows.freeze()
    restored = Rows(WORDS, VectorStore.INT8, DIMENSION, page_rows=128)
    restored.restore(frozen.parts(4), frozen.tombstones)
    for held in (rows, restored):
        located = held.locate(np.array([6, 1, 4]))
        items = gather(located.view, located.rows)
        assert items["groups"].tolist() == [0, NO_GROUP, 7]
        assert items["tags"].tolist() == [2**63, 0, 1]
        assert items["norms"].tolist() == [4, 1, 2]
        assert np.array_equal(items["uncertainties"], np.array([0.3, np.nan, 0.1], np.float32), equal_nan=True)
        assert np.array_equal(items["vectors"], vectors[[2, 0, 0]])
        assert items["scales"].tolist() == [2, 0.5, 0.5]


def test_rows_without_an_optional_value_go_to_pages_that_lack_its_column_and_to_those_that_have_it() -> None:
    rows = Rows(WORDS, page_rows=PAGE)
    ids = list(range(PAGE))
    for serial in range(6):  # the groups' page is freed, opened anew and reused
        rows.apply(batch(ids, [0] * PAGE, serial, **({"groups": np.arange(PAGE)} if serial % 2 == 0 else {})))
        rows.apply(batch([key + PAGE for key in ids], [0] * PAGE, serial))
        items = gather(rows.view, rows.locate(np.arange(2 * PAGE)).rows)
        expected = ids if serial % 2 == 0 else [NO_GROUP] * PAGE
        assert items.get("groups", np.full(2 * PAGE, NO_GROUP)).tolist() == expected + [NO_GROUP] * PAGE


def test_columns_that_do_not_fit_are_refused_and_change_nothing() -> None:
    rows = Rows(WORDS, VectorStore.FLOAT32, DIMENSION, page_rows=PAGE)
    view = rows.view
    wrong = np.zeros((1, DIMENSION + 1), np.float32)
    for vectors in (None, wrong, wrong[:, 1:].astype(np.int8)):
        with pytest.raises(InvalidInput, match="vectors are"):
            rows.apply(batch([1], [0], vectors=vectors))
    with pytest.raises(InvalidInput, match="codes have 3 words, expected 2"):
        rows.apply(Batch(ids=np.array([1]), versions=np.array([0]), codes=np.zeros((1, 3), np.uint64)))
    assert rows.view is view


def test_empty_rows_freeze_and_restore() -> None:
    rows = Rows(WORDS, page_rows=PAGE)
    frozen = rows.freeze()
    assert list(frozen.parts()) == []
    rows.restore(frozen.parts(), frozen.tombstones)
    assert rows.view.rows == 0
    assert gather(rows.view, np.empty(0, np.int64))["codes"].shape == (0, WORDS)


def test_readers_see_each_id_once_while_a_writer_overwrites() -> None:
    rows = Rows(WORDS, page_rows=256)
    ids = np.arange(1000)
    rows.apply(batch(ids.tolist(), [0] * 1000))
    stop, failures, reads = threading.Event(), [], [0, 0]

    def read(reader: int) -> None:
        while not stop.is_set() or reads[reader] < 3:
            try:
                held = contents(rows.view)
                assert sorted(held) == ids.tolist()
                located = rows.locate(ids)
                assert np.array_equal(gather(located.view, located.rows)["ids"], ids)
            except AssertionError as error:
                failures.append(error)
                return
            reads[reader] += 1

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(2)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(3)
    for serial in range(1, 300):
        chosen = rng.choice(ids, 300, replace=False)
        rows.apply(batch(chosen.tolist(), [0] * 300, serial))
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert rows.stats().pages < 20


def test_without_memory_for_a_page_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, model = Rows(WORDS, page_rows=PAGE), Model()
    rows.apply(batch(list(range(40)), [1] * 40, 1))
    model.apply(False, dict.fromkeys(range(40), 1), 1)
    opened = []

    def second_fails(page_rows: int, words: int, allocate: object) -> Page:
        opened.append(page_rows)
        if len(opened) == 2:
            raise MemoryError
        return Page(page_rows, words)

    monkeypatch.setattr(pageset, "Page", second_fails)
    more = {"groups": np.full(200, 3)}
    with pytest.raises(MemoryError):
        rows.apply(batch(list(range(200)), [1] * 200, 2, **more))
    assert contents(rows.view) == model.rows
    rows.apply(batch(list(range(20, 220)), [1] * 200, 3))
    model.apply(False, dict.fromkeys(range(20, 220), 1), 3)
    assert contents(rows.view) == model.rows
    located = rows.locate(np.arange(220))
    assert set(gather(located.view, located.rows).get("groups", np.array([NO_GROUP])).tolist()) == {NO_GROUP}
