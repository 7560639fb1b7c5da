"""The vector kernels against plain arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from negmine_server.index.layout import code_space, store_word
from negmine_server.index.native import kernel
from negmine_server.scan.lanes import (
    DISTANCES_AT,
    near_in_bytes,
    near_in_shorts,
    quad_near_in_bytes,
    quad_near_in_shorts,
)


@kernel
def _write(at: Any, codes: Any) -> None:
    for row in range(codes.shape[0]):
        for word in range(codes.shape[1]):
            store_word(at, codes.shape[1], row, word, codes[row, word])


@kernel
def _quad(at: Any, words: Any, anchors: Any, bounds: Any, space: Any, wide: Any) -> Any:
    if wide:
        return quad_near_in_shorts(at, words, anchors, bounds, space)
    return quad_near_in_bytes(at, words, anchors, bounds, space)


@kernel
def _single(at: Any, words: Any, anchors: Any, bounds: Any, space: Any, wide: Any) -> Any:
    if wide:
        return near_in_shorts(at, words, anchors, bounds, space)
    return near_in_bytes(at, words, anchors, bounds, space)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 8, 16, 64])
def test_distances_of_a_group(words: int, wide: bool) -> None:
    rng = np.random.default_rng(words)
    codes = rng.integers(0, 2**64, (64, words), dtype=np.uint64)
    anchors = rng.integers(0, 2**64, (4, words), dtype=np.uint64)
    anchors[0], anchors[1] = codes[0], ~codes[1]  # the nearest and the farthest there can be
    group = code_space(64, words)
    _write(np.uint64(group.ctypes.data), codes)
    np.testing.assert_array_equal(group[0], codes.view(np.uint8).T)
    expected = np.bitwise_count(codes ^ anchors[:, None]).sum(axis=2, dtype=np.int64)
    bounds = (
        [0, 64 * words + 1, 32 * words, 28 * words] if wide else [0, 255, min(255, 32 * words), min(255, 28 * words)]
    )
    masks = [sum(1 << row for row in range(64) if expected[k, row] < bounds[k]) for k in range(4)]

    fours = anchors.view(np.uint8) * np.uint32(0x01010101)
    for count, call in ((4, _quad), (1, _single)):
        space = np.zeros(DISTANCES_AT // 8 + 64, np.uint64)
        places = tuple(np.uint64(fours[k].ctypes.data) for k in range(count))
        found = call(
            np.uint64(group.ctypes.data), words, places, tuple(bounds[:count]), np.uint64(space.ctypes.data), wide
        )
        assert found == np.bitwise_or.reduce(np.array(masks[:count], np.uint64))
        assert space[:count].tolist() == masks[:count]
        kind = np.uint16 if wide else np.uint8
        got = space[DISTANCES_AT // 8 :].view(kind)[: 64 * count].reshape(count, 64)
        np.testing.assert_array_equal(got, expected[:count] if wide else np.minimum(expected[:count], 255))
