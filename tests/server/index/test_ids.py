"""The id map against a dict."""

from __future__ import annotations

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


def test_row_numbers_may_outgrow_their_bits() -> None:
    ids = np.zeros(1 << 22, np.int64)
    ids[[0, 70_000, (1 << 22) - 1]] = [5, 6, 7]
    keys = Keys(ids)
    table = IdMap(SHIFT)
    for key, row in ((5, 0), (6, 70_000), (7, (1 << 22) - 1)):
        table.put(np.array([key]), np.array([row]), keys.addresses)
    assert table.find(np.array([5, 6, 7]), keys.addresses).tolist() == [0, 70_000, (1 << 22) - 1]


def test_a_reserved_map_holds_its_capacity_without_growth() -> None:
    ids = np.arange(100_000)
    keys = Keys(ids)
    table = IdMap(SHIFT, capacity=ids.shape[0])
    size = table.nbytes
    table.put(ids[:60_000], ids[:60_000], keys.addresses)
    assert table.nbytes == size
    assert size <= 4 * (ids.shape[0] / MAX_LOAD + 2)


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
