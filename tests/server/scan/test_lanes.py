"""The vector kernels against plain arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from negmine_server.index.layout import code_space, store_word
from negmine_server.index.native import kernel
from negmine_server.scan.lanes import (
    NUMBERS_AT,
    SPACE_BYTES,
    look_ups,
    near,
    near_in_bytes,
    quad_near,
    quad_near_in_bytes,
)


@kernel
def _write(at: Any, codes: Any) -> None:
    for row in range(codes.shape[0]):
        for word in range(codes.shape[1]):
            store_word(at, codes.shape[1], row, word, codes[row, word])


@kernel
def _quad(at: Any, words: Any, anchors: Any, bounds: Any, space: Any, wide: Any) -> Any:
    if wide:
        return quad_near(at, words, anchors, bounds, space)
    return quad_near_in_bytes(at, words, anchors, bounds, space)


@kernel
def _single(at: Any, words: Any, anchors: Any, bounds: Any, space: Any, wide: Any) -> Any:
    if wide:
        return near(at, words, anchors, bounds, space)
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
        space = np.zeros(NUMBERS_AT // 8 + 64, np.uint64)
        places = tuple(np.uint64(fours[k].ctypes.data) for k in range(count))
        found = call(
            np.uint64(group.ctypes.data), words, places, tuple(bounds[:count]), np.uint64(space.ctypes.data), wide
        )
        assert found == np.bitwise_or.reduce(np.array(masks[:count], np.uint64))
        assert space[:count].tolist() == masks[:count]
        got = space[NUMBERS_AT // 8 :].view(np.uint16 if wide else np.uint8)[: 64 * count].reshape(count, 64)
        if wide:
            got = got.reshape(count, 2, 32).swapaxes(1, 2).reshape(count, 64)
        np.testing.assert_array_equal(got, expected[:count] if wide else np.minimum(expected[:count], 255))


CPU_FLAGS = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""


@pytest.mark.parametrize("feature", ["avx512bw", "avx2", "ssse3", "no_shuffle"])
@pytest.mark.parametrize("tables", [1, 4])
def test_sums_of_table_entries(tables: int, feature: str) -> None:
    if feature not in CPU_FLAGS + "no_shuffle":
        pytest.skip(f"this CPU has no {feature}")
    kernel_of_feature = look_ups(tables, f"+{feature}")

    @numba.njit
    def call(at: Any, words: Any, places: Any, bounds: Any, space: Any) -> Any:
        return kernel_of_feature(at, words, places, bounds, space)

    rng = np.random.default_rng(0)
    for words in (1, 3, 4, 64):
        codes = rng.integers(0, 2**64, (64, words), dtype=np.uint64)
        group = code_space(64, words)
        _write(np.uint64(group.ctypes.data), codes)
        levels = rng.integers(0, 32, (tables, 16 * words, 16)).astype(np.uint8)
        halves = np.stack([codes.view(np.uint8) & 15, codes.view(np.uint8) >> 4], axis=2).reshape(64, 16 * words)
        expected = levels[:, np.arange(16 * words), halves].sum(axis=2, dtype=np.int64)
        bounds = [0, *expected.max(axis=1)[1:]]
        space = np.zeros(SPACE_BYTES // 8, np.uint64)
        places = tuple(np.uint64(table.ctypes.data) for table in levels)
        at, space_at = np.uint64(group.ctypes.data), np.uint64(space.ctypes.data)
        found = call(at, words, places, tuple(int(bound) for bound in bounds), space_at)
        masks = [sum(1 << row for row in range(64) if expected[q, row] >= bounds[q]) for q in range(tables)]
        assert found == np.bitwise_or.reduce(np.array(masks, np.uint64))
        assert space[:tables].tolist() == masks
        got = space[NUMBERS_AT // 8 :].view(np.uint16)[: 64 * tables].reshape(tables, 2, 32)
        np.testing.assert_array_equal(got.swapaxes(1, 2).reshape(tables, 64), expected)
