"""Rows that move between buckets: each is there once, old views stand still, and memory stays bounded."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.domain import VectorStore
from negmine_server.index import pageset as pageset_module
from negmine_server.index.buckets import bucket_of
from negmine_server.index.pages import gather
from negmine_server.index.rows import Rows
from row_model import DIMENSION, WORDS, Model, batch, contents

moves = st.lists(
    st.one_of(
        st.tuples(st.booleans(), st.dictionaries(st.integers(0, 400), st.integers(0, 4), max_size=200)),
        st.tuples(st.just("move"), st.integers(0, 2**32 - 1), st.integers(0, 3)),
        st.just("restart"),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(moves)
def test_any_sequence_with_moves_equals_a_dictionary(sequence: list) -> None:
    rows, model, views = Rows(WORDS, page_rows=1024), Model(), []
    buckets: dict[int, int] = {}
    for serial, step in enumerate(sequence):
        if step == "restart":
            known = np.array([1, 3, 5])
            frozen = rows.freeze()
            highest = max((buckets[key] for key in model.rows), default=0)
            rows, views = Rows(WORDS, page_rows=1024), []
            assert rows.restore(frozen.parts(37), frozen.tombstones, known) == highest
            buckets = {key: number if number in known else 0 for key, number in buckets.items()}
        elif step[0] == "move":  # what an older view had, perhaps overwritten or moved since
            rng = np.random.default_rng(step[1])
            view, before = views[-step[2] :][0] if views else rows.view, rows.view
            there = view.everything()
            there = there[rng.random(there.shape[0]) < 0.5]
            targets = rng.integers(0, 6, there.shape[0])
            still = np.isin(there, before.everything())
            assert rows.move(view, there, targets) == still.sum()
            buckets |= dict(zip(gather(view, there[still])["ids"].tolist(), targets[still].tolist(), strict=True))
        else:
            deletes, items = step
            fresh = [
                key for key, version in items.items() if version >= model.rows.get(key, (model.buried.get(key, -1),))[0]
            ]
            assert rows.apply(batch(list(items), list(items.values()), serial, deletes=deletes)) == model.apply(
                deletes, items, serial
            )
            buckets |= dict.fromkeys(fresh, 0)
        views.append(rows.view)
        views = views[-3:]
        assert contents(rows.view) == model.rows
        located = rows.locate(np.array(sorted(model.rows), np.int64))
        assert bucket_of(located).tolist() == [buckets[key] for key in sorted(model.rows)]
        counted = Counter(buckets[key] for key in model.rows)
        assert {number: n for number, n in rows.view.bucket_rows().items() if n} == counted


def test_readers_see_each_id_once_while_a_writer_moves_and_overwrites() -> None:
    rows = Rows(WORDS, page_rows=1024)
    ids = np.arange(3000)
    rows.apply(batch(ids.tolist(), [0] * 3000))
    stop, failures, reads = threading.Event(), [], [0, 0]

    def read(reader: int) -> None:
        while not stop.is_set() or reads[reader] < 3:
            try:
                view = rows.view
                assert sorted(contents(view)) == ids.tolist()
                assert sum(view.bucket_rows().values()) == rows.stats().rows == 3000
                probed = np.concatenate([view.bucket(number) for number in view.bucket_rows()])
                assert np.array_equal(np.sort(probed), np.sort(view.everything()))
                located = rows.locate(ids)
                assert np.array_equal(gather(located.view, located.rows)["ids"], ids)
                assert (bucket_of(located) >= 0).all()
            except Exception as error:  # noqa: BLE001 (checked below)
                failures.append(error)
                return
            reads[reader] += 1

    readers = [threading.Thread(target=read, args=(reader,)) for reader in range(2)]
    for reader in readers:
        reader.start()
    rng = np.random.default_rng(3)
    for serial in range(1, 50):
        chosen = rng.choice(ids, 300, replace=False)
        extra = {"groups": chosen} if serial % 10 == 0 else {}  # a column comes while others read
        rows.apply(batch(chosen.tolist(), [0] * 300, serial, **extra))
        view = rows.view
        moving = view.everything()[:: 1 + serial % 3]
        rows.move(view, moving, rng.integers(0, 20, moving.shape[0]))
    stop.set()
    for reader in readers:
        reader.join()
    assert not failures
    assert rows.stats().pages < 14  # 3 hold the rows, 20 buckets have a block that is not full, and readers hold views


def test_an_old_view_stands_still_while_its_blocks_are_freed_and_used_again() -> None:
    rows = Rows(WORDS, page_rows=1024)
    ids = list(range(900))
    rows.apply(batch(ids, [0] * 900, 1))
    old = rows.view
    blocks = set(np.flatnonzero(old.counts).tolist())
    for serial in range(2, 8):
        view = rows.view
        rows.move(view, view.everything(), np.full(900, serial))
        rows.apply(batch(ids[:300], [0] * 300, serial))
    del view
    assert contents(old) == dict.fromkeys(ids, (0, 1))
    assert old.bucket_rows() == {0: 900}
    assert not blocks & set(np.flatnonzero(rows.view.counts).tolist())  # none was used again in the pages of the view
    del old
    gc.collect()
    for serial in range(8, 12):
        rows.apply(batch(ids, [0] * 900, serial))
    assert contents(rows.view) == dict.fromkeys(ids, (0, 11))
    assert rows.stats().pages <= 3


def test_blocks_are_used_again_once_no_view_reads_them() -> None:
    rows = Rows(WORDS, page_rows=1024)
    rows.apply(batch(list(range(900)), [0] * 900, 1))
    for serial in range(40):
        view = rows.view
        rows.move(view, view.everything(), np.full(900, serial % 3))
        del view
    assert rows.stats().pages <= 3
    assert contents(rows.view) == dict.fromkeys(range(900), (0, 1))


def test_pages_go_when_all_their_rows_are_gone() -> None:
    rows = Rows(WORDS, page_rows=1024)
    ids = list(range(8000))
    rows.apply(batch(ids, [0] * 8000))
    view = rows.view
    rows.move(view, view.everything(), np.arange(8000) % 10)
    pages = [weakref.ref(page) for page in rows.view.pages if page is not None]
    rows.apply(batch(ids, [1] * 8000, deletes=True))
    assert rows.stats().pages == 0
    assert rows.view.bucket_rows() == {}
    assert contents(view) == dict.fromkeys(ids, (0, 0))
    del view
    gc.collect()
    assert all(page() is None for page in pages)
    rows.apply(batch(ids, [2] * 8000))
    assert rows.stats().pages == 8


def test_fragmentation_stays_bounded_under_endless_overwrites_and_moves() -> None:
    rows, rng = Rows(WORDS, page_rows=1024), np.random.default_rng(0)
    ids, buckets = np.arange(6000), 8
    rows.apply(batch(ids.tolist(), [0] * 6000))
    most = 0
    for serial in range(150):
        chosen = rng.choice(ids, 200, replace=False)
        rows.apply(batch(chosen.tolist(), [0] * 200, serial))
        view = rows.view
        loose = view.bucket(0, 150)
        assert loose.shape[0] <= 150
        rows.move(view, loose, rng.integers(1, buckets, loose.shape[0]))
        some = view.bucket(int(rng.integers(1, buckets)), 100)
        rows.move(view, some, rng.integers(1, buckets, some.shape[0]))
        del view
        stats = rows.stats()
        # Full blocks are at least half live, and each bucket has one that is not full.
        assert stats.rows + stats.dead_rows <= 2 * 6000 + buckets * 256
        most = max(most, stats.pages)
    assert most <= 2 * 6 + 4
    assert sorted(contents(rows.view)) == ids.tolist()


def test_some_rows_of_a_bucket_are_its_first() -> None:
    rows = Rows(WORDS, page_rows=1024)
    rows.apply(batch(list(range(2000)), [0] * 2000))
    rows.apply(batch(list(range(0, 900, 2)), [1] * 450, deletes=True))
    view = rows.view
    whole = view.bucket(0)
    for most in (0, 1, 200, 256, 257, 1549, 1550, 5000):
        assert np.array_equal(view.bucket(0, most), whole[:most])
    assert view.bucket(7).shape == view.bucket(7, 3).shape == (0,)


def test_every_column_moves_along() -> None:
    rows, rng = Rows(WORDS, VectorStore.INT8, DIMENSION, page_rows=1024), np.random.default_rng(0)
    ids = list(range(600))
    extra = {
        "groups": np.arange(600),
        "tags": rng.integers(0, 2**63, 600).astype(np.uint64),
        "uncertainties": rng.random(600, np.float32),
        "norms": rng.random(600, np.float32),
        "vectors": rng.integers(-127, 127, (600, DIMENSION)).astype(np.int8),
        "scales": rng.random(600, np.float32),
    }
    rows.apply(batch(ids, list(range(600)), 3, **extra))
    before = gather(rows.view, rows.locate(np.arange(600)).rows)
    view = rows.view
    rows.move(view, view.everything(), np.arange(600) % 4)
    rows.move(view, view.everything(), np.arange(600) % 4)  # all have died in their places
    located = rows.locate(np.arange(600))
    after = gather(located.view, located.rows)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    frozen = rows.freeze()
    assert {number for part in frozen.parts(100) for number in part["buckets"].tolist()} == {0, 1, 2, 3}


def test_a_move_of_a_view_from_before_the_epochs_began_afresh_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pageset_module, "EPOCH_MAX", 8)
    rows = Rows(WORDS, page_rows=1024)
    rows.apply(batch(list(range(300)), [0] * 300, 0))
    serial, view = 0, rows.view
    while rows.view.epoch >= view.epoch:
        view = rows.view
        serial += 1
        rows.apply(batch(list(range(100)), [0] * 100, serial))
    assert rows.move(view, view.everything(), np.full(300, 5)) == 0
    assert rows.move(rows.view, rows.view.everything(), np.full(300, 5)) == 300
    assert contents(rows.view) == {key: (0, serial if key < 100 else 0) for key in range(300)}


def test_a_move_without_room_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows(WORDS, page_rows=1024)
    rows.apply(batch(list(range(900)), [0] * 900))
    view = rows.view

    def none(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(pageset_module, "Page", none)
        with pytest.raises(MemoryError):
            rows.move(view, view.everything(), np.arange(900) % 7 + 1)
    assert contents(rows.view) == dict.fromkeys(range(900), (0, 0))
    assert {number: n for number, n in rows.view.bucket_rows().items() if n} == {0: 900}
    assert rows.move(view, view.everything(), np.arange(900) % 7 + 1) == 900
    assert len(rows.view.bucket_rows()) == 7
    assert contents(rows.view) == dict.fromkeys(range(900), (0, 0))
