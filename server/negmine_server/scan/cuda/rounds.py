"""In which pieces a search looks at its works: ever larger ones, so that each finds the bars of those before it."""

from __future__ import annotations

from collections.abc import Iterable
from math import gcd
from typing import NamedTuple

from negmine_server.scan.cuda.block import TILE_ROWS

# A round that is g times what was seen before it brings about (g - 1) r candidates an anchor. Few anchors: launches
# cost more than candidates; many: the other way round.
_GROWTH, _GROWTH_OF_MANY, _MANY = 8, 4, 32_768
_CANDIDATES, _CANDIDATES_MIN, _CANDIDATES_MAX = 16, 4_096, 65_536


class Span(NamedTuple):
    """Works [first, last)."""

    first: int
    last: int


def capacity_of(r: int) -> int:
    """How many candidates an anchor may have before `cut` keeps the best r."""
    return max(r, min(max(_CANDIDATES * r, _CANDIDATES_MIN), _CANDIDATES_MAX)) + TILE_ROWS


def spans(works: int, anchors: int, r: int) -> list[Span]:
    """The rounds of a search; whatever passes the filters of the first one fits in the candidates."""
    growth = _GROWTH_OF_MANY if anchors * r >= _MANY else _GROWTH
    found: list[Span] = []
    first, last = 0, capacity_of(r) // TILE_ROWS
    while first < works:
        found.append(Span(first, min(last, works)))
        first, last = last, growth * last
    return found


def halved(overflowed: Iterable[Span]) -> list[Span]:
    """The same works in pieces of half the size; one work is never too much."""
    parts: list[Span] = []
    for span in overflowed:
        middle = (span.first + span.last) // 2
        assert span.first < middle, f"work {span.first} overflowed alone"
        parts += [Span(span.first, middle), Span(middle, span.last)]
    return parts


def stride_of(tiles: int) -> int:
    """A step through all tiles that comes by each once and scatters neighbours: coprime, near the golden section."""
    step = max(1, round(tiles * 0.6180339887))
    while step < tiles and gcd(step, tiles) != 1:
        step += 1
    return step if step < tiles else 1
