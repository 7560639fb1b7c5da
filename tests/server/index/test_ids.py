"""The id map against a dict."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.index.ids import MAX_LOAD, IdMap

SHIFT = 20


class Keys:
    """Pages that hold nothing but ids: row -> id."""

    def __init__(self, ids: np.ndarray) -> None:
        pages = -(-ids.shape[0] // (1 << SHIFT))
        self.ids = np.zeros(max(1, pages) << SHIFT, np.int64)
        self.ids[: ids.shape[0]] = ids
        base = self.ids.ctypes.data
        self.addresses = np.array([base + 8 * (page << SHIFT) for page in range(max(1, pages))], np.uint64)


def adversarial(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return {
        "random": lambda: np.unique(rng.integers(0, 2**63 - 1, n)),
        "sequential": lambda: np.arange(n),
        "strided": lambda: np.arange(n) << 32,
        "high": lambda: 2**63 - 1 - np.arange(n),
        "same_low_bits": lambda: np.arange(n) * 2**40 + 5,
    }[kind]()


@pytest.mark.parametrize("kind", ["random", "sequential", "strided", "high", "same_low_bits"])
def test_finds_every_id_through_growth_and_deletes(kind: str) -> None:
    ids = adversarial(kind, 1_000_000)
    keys = Keys(ids)
    rows = np.arange(ids.shape[0])
    table = IdMap(SHIFT)
    for start in range(0, ids.shape[0], 50_000):
        table.put(ids[start : start + 50_000], rows[start : start + 50_000], keys.addresses)
    assert len(table) == ids.shape[0]
    assert np.array_equal(table.find(ids, keys.addresses), rows)

    gone = np.random.default_rng(1).random(ids.shape[0]) < 0.5
    table.remove(ids[gone], keys.addresses)
    table.remove(ids[gone][:1000], keys.addresses)  # unknown by now
    assert len(table) == np.count_nonzero(~gone)
    assert np.array_equal(table.find(ids, keys.addresses), np.where(gone, -1, rows))

    table.put(ids[gone], rows[gone], keys.addresses)
    assert np.array_equal(table.find(ids, keys.addresses), rows)


def test_an_id_moves_to_its_new_row() -> None:
    keys = Keys(np.array([11, 22, 11]))
    table = IdMap(SHIFT)
    table.put(np.array([11, 22]), np.array([0, 1]), keys.addresses)
    table.put(np.array([11]), np.array([2]), keys.addresses)
    assert len(table) == 2
    assert table.find(np.array([11, 22, 33]), keys.addresses).tolist() == [2, 1, -1]


def test_every_id_is_found_while_row_numbers_gain_bits() -> None:
    rows = np.unique([(1 << bits) + near for bits in range(15, 22) for near in range(-300, 300)])
    ids = np.zeros(1 << 22, np.int64)
    ids[rows] = rows * 31
    keys = Keys(ids)
    table = IdMap(SHIFT)
    for end in range(100, rows.shape[0] + 100, 100):
        table.put(rows[end - 100 : end] * 31, rows[end - 100 : end], keys.addresses)
        assert np.array_equal(table.find(rows[:end] * 31, keys.addresses), rows[:end])
    assert (table.find(rows * 31 + 1, keys.addresses) == -1).all()


def test_what_was_reserved_needs_no_growth() -> None:
    ids = np.arange(100_000)
    keys = Keys(ids)
    table = IdMap(SHIFT)
    table.reserve(ids.shape[0], ids.shape[0], keys.addresses)
    size = table.nbytes
    table.put(ids, ids, keys.addresses)
    assert table.nbytes == size


def test_it_grows_in_small_steps_at_a_steady_load() -> None:
    ids = np.random.default_rng(3).permutation(400_000)
    keys = Keys(ids)
    rows = np.arange(ids.shape[0])
    table = IdMap(SHIFT)
    for start in range(0, ids.shape[0], 250):
        before = table.nbytes
        table.reserve(250, start + 249, keys.addresses)
        table.put(ids[start : start + 250], rows[start : start + 250], keys.addresses)
        if start > 50_000:
            assert table.nbytes - before < before / 20
            assert 4 / MAX_LOAD < table.nbytes / len(table) < 4 / MAX_LOAD * 1.35


def test_a_crowded_segment_grows_in_the_midst_of_a_put() -> None:
    ids = np.arange(20_000)
    keys = Keys(ids)
    table = IdMap(SHIFT)
    table.put(ids, ids, keys.addresses)
    assert len(table) == ids.shape[0]
    assert np.array_equal(table.find(ids, keys.addresses), ids)


def test_a_reader_finds_everything_while_the_writer_reserves() -> None:
    ids = np.arange(200_000) * 5
    keys = Keys(ids)
    rows = np.arange(ids.shape[0])
    table, lock, done = IdMap(SHIFT), threading.Lock(), threading.Event()
    wrong: list[int] = []

    def read() -> None:
        while not done.is_set():
            with lock:
                count = len(table)
                found = table.find(ids[:count], keys.addresses)
            wrong.extend(np.flatnonzero(found != rows[:count])[:1].tolist())

    reader = threading.Thread(target=read)
    reader.start()
    for start in range(0, ids.shape[0], 2000):
        table.reserve(2000, start + 1999, keys.addresses)
        with lock:
            table.put(ids[start : start + 2000], rows[start : start + 2000], keys.addresses)
    done.set()
    reader.join()
    assert not wrong


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sets(st.integers(0, 150), max_size=40)), max_size=30))
def test_equals_a_dict(steps: list[tuple[bool, set[int]]]) -> None:
    ids = np.arange(151) * 977
    keys = Keys(ids)
    table, model = IdMap(SHIFT), {}
    for removes, chosen in steps:
        rows = np.array(sorted(chosen), np.int64)
        if removes:
            table.remove(ids[rows], keys.addresses)
            model = {row: True for row in model if row not in chosen}
        else:
            table.put(ids[rows], rows, keys.addresses)
            model |= dict.fromkeys(chosen, True)
        assert len(table) == len(model)
    expected = [row if row in model else -1 for row in range(151)]
    assert table.find(ids, keys.addresses).tolist() == expected
