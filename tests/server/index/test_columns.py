"""Rows go into the columns of pages and come back."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.index import columns
from negmine_server.index.layout import code_space

SHIFT = 6


def addresses(pages: list[np.ndarray | None]) -> np.ndarray:
    return np.array([0 if page is None else page.ctypes.data for page in pages], np.uint64)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float32, np.uint32])
def test_one_value_a_row(dtype: type) -> None:
    pages = [np.zeros(64, dtype) for _ in range(3)]
    rows = np.random.default_rng(0).permutation(192)[:100]
    values = np.random.default_rng(1).integers(0, 2**31, 100).astype(dtype)
    columns.put(addresses(pages), SHIFT, rows, values)
    assert np.array_equal(np.concatenate(pages)[rows], values)
    assert np.count_nonzero(np.concatenate(pages)) == np.count_nonzero(values)
    into = np.ones(100, dtype)
    columns.take(addresses(pages), SHIFT, rows, into)
    assert np.array_equal(into, values)


@pytest.mark.parametrize(("dtype", "width"), [(np.int8, 1), (np.int8, 37), (np.float16, 3), (np.float32, 5)])
def test_many_values_a_row(dtype: type, width: int) -> None:
    pages = [np.zeros((64, width), dtype) for _ in range(2)]
    rows = np.random.default_rng(0).permutation(128)[:77]
    values = np.random.default_rng(1).integers(-100, 100, (77, width)).astype(dtype)
    columns.put(addresses(pages), SHIFT, rows, values)
    assert np.array_equal(np.concatenate(pages)[rows], values)
    into = np.zeros((77, width), dtype)
    columns.take(addresses(pages), SHIFT, rows, into)
    assert np.array_equal(into, values)


def test_values_of_any_layout() -> None:
    page = np.zeros(64, np.int64)
    read_only = np.frombuffer(np.arange(20, dtype=np.int64).tobytes(), np.int64)
    columns.put(addresses([page]), SHIFT, np.arange(10), read_only[::2])
    assert page[:10].tolist() == list(range(0, 20, 2))
    wide = np.zeros((64, 2), np.float32)
    columns.put(addresses([wide]), SHIFT, np.arange(3), np.arange(6, dtype=np.float32).reshape(2, 3).T)
    assert wide[:3].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_what_a_page_lacks_stays_as_it_is() -> None:
    rows = np.array([1, 65, 2])
    for page, into in (
        (np.full(64, 7, np.int64), np.full(3, -1, np.int64)),
        (np.full(64, 7, np.float32), np.full(3, -1, np.float32)),
        (np.full((64, 3), 7, np.int8), np.full((3, 3), -1, np.int8)),
    ):
        columns.take(addresses([page, None]), SHIFT, rows, into)
        assert into.reshape(3, -1)[:, 0].tolist() == [7, -1, 7]


@pytest.mark.parametrize("words", [1, 2, 5, 64])
def test_codes(words: int) -> None:
    rng = np.random.default_rng(words)
    pages = [code_space(64, words) for _ in range(3)]
    rows = rng.permutation(192)[:90]
    codes = rng.integers(0, 2**64, (90, words), dtype=np.uint64)
    columns.put_codes(addresses(pages), SHIFT, rows, codes)
    assert np.array_equal(columns.take_codes(addresses(pages), SHIFT, rows, words), codes)
    order = rng.permutation(90)
    assert np.array_equal(columns.take_codes(addresses(pages), SHIFT, rows[order], words), codes[order])


def test_no_rows() -> None:
    none = np.empty(0, np.int64)
    columns.put(addresses([]), SHIFT, none, none)
    columns.take(addresses([]), SHIFT, none, none)
    assert columns.take_codes(addresses([]), SHIFT, none, 3).shape == (0, 3)
