"""Dot products of four pairs and of tiles against the fixed order in numpy, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from negmine_server.index.native import kernel
from negmine_server.scan import dots
from negmine_server.scan.reference import fixed_order_dot

DTYPES = [np.int8, np.float16, np.float32]
DIMENSIONS = [1, 15, 16, 17, 37, 64, 384]


@kernel
def _run(rows: Any, anchors: Any, size: int, dimension: int, pairs: Any, tile: Any) -> None:
    rows_at, anchors_at = np.uint64(rows.ctypes.data), np.uint64(anchors.ctypes.data)
    pairs_at, tile_at = np.uint64(pairs.ctypes.data), np.uint64(tile.ctypes.data)
    if size == 1:
        dots.pair_dots_int8(rows_at, anchors_at, dimension, pairs_at)
        dots.tile_dots_int8(rows_at, anchors_at, dimension, tile_at)
    elif size == 2:
        dots.pair_dots_float16(rows_at, anchors_at, dimension, pairs_at)
        dots.tile_dots_float16(rows_at, anchors_at, dimension, tile_at)
    else:
        dots.pair_dots_float32(rows_at, anchors_at, dimension, pairs_at)
        dots.tile_dots_float32(rows_at, anchors_at, dimension, tile_at)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_sums_have_the_fixed_order(dtype: Any, dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    stored = (rng.standard_normal((4, dimension)) * 40).astype(dtype)
    anchors = rng.standard_normal((4, dimension)).astype(np.float32)
    places = [np.array([row.ctypes.data for row in array], np.uint64) for array in (stored, anchors)]
    pairs, tile = np.empty(4, np.float32), np.empty((4, 4), np.float32)
    _run(*places, stored.itemsize, dimension, pairs, tile)
    expected = np.stack([fixed_order_dot(stored.astype(np.float32), anchor) for anchor in anchors])
    np.testing.assert_array_equal(tile, expected)
    np.testing.assert_array_equal(pairs, expected.diagonal())


@kernel
def _touch(address: Any, size: int) -> int:
    dots.prefetch(address, size)
    return 1


def test_asking_for_memory_that_is_not_there_is_no_fault() -> None:
    assert _touch(np.uint64(8), 1000) == 1
