"""Rounds cover all works, each once; strides come by every tile."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.scan.cuda.block import ROUNDS_MAX, TILE_ROWS
from negmine_server.scan.cuda.rounds import Span, capacity_of, halved, spans, stride_of


@pytest.mark.parametrize("works", [0, 1, 16, 17, 18, 1000, 4_000_000])
@pytest.mark.parametrize(("anchors", "r"), [(1, 1), (64, 100), (1024, 100), (4096, 16_384)])
def test_rounds_cover_the_works(works: int, anchors: int, r: int) -> None:
    found = spans(works, anchors, r)
    assert len(found) <= ROUNDS_MAX
    edges = [span.first for span in found] + [works]
    assert edges[0] == 0
    assert all(span.last == after for span, after in zip(found, edges[1:], strict=True))
    assert all(span.first < span.last for span in found)


@pytest.mark.parametrize("r", [1, 100, 1024, 16_384])
def test_the_first_round_cannot_overflow_and_a_work_never_does(r: int) -> None:
    first = spans(10_000_000, 64, r)[0]
    assert (first.last - first.first) * TILE_ROWS <= capacity_of(r)
    assert capacity_of(r) >= r + TILE_ROWS


def test_halves() -> None:
    assert halved([Span(3, 5), Span(7, 12)]) == [(3, 4), (4, 5), (7, 9), (9, 12)]


@pytest.mark.parametrize("tiles", [1, 2, 3, 4, 6, 256, 257, 30_030, 391_000])
def test_strides_come_by_every_tile(tiles: int) -> None:
    came_by = np.arange(tiles, dtype=np.int64) * stride_of(tiles) % tiles
    assert np.array_equal(np.sort(came_by), np.arange(tiles))
    if tiles > 100:
        assert np.ptp(came_by[: tiles // 10]) > tiles // 2
