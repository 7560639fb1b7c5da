"""Stored vectors against the plain formula."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.domain import VectorStore
from negmine_server.vectors import restored, stored

ROWS = np.random.default_rng(0).standard_normal((300, 48)).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 128, 129, 300])
def test_int8_rows_have_a_scale_each(count: int) -> None:
    rows = ROWS[:count].copy()
    rows[1:2] = 0
    values, scales = stored(rows, VectorStore.INT8)
    assert values is not None
    assert scales is not None
    expected = np.abs(rows).max(axis=1) / np.float32(127)
    np.testing.assert_array_equal(scales, expected)
    np.testing.assert_array_equal(values, np.rint(rows / np.where(expected > 0, expected, 1)[:, None]).astype(np.int8))
    assert (np.abs(restored(values, scales) - rows) <= expected[:, None] * 0.5001).all()


def test_other_stores_keep_the_values() -> None:
    assert stored(ROWS, VectorStore.NONE) == (None, None)
    halves, none = stored(ROWS, VectorStore.FLOAT16)
    assert none is None
    np.testing.assert_array_equal(restored(halves, None), ROWS.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(restored(stored(ROWS, VectorStore.FLOAT32)[0], None), ROWS)
