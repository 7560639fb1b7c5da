from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine.cli.histogram import BAR_WIDTH, histogram, powers_of_two
from rich.console import Console, Group


def test_bins_are_powers_of_two_with_gaps_but_none_below_the_smallest() -> None:
    assert powers_of_two(np.array([0, 0, 5, 7, 8, 40])) == [(0, 0, 2), (4, 7, 2), (8, 15, 1), (16, 31, 0), (32, 63, 1)]
    assert powers_of_two(np.array([1, 2, 3])) == [(1, 1, 1), (2, 3, 2)]
    assert powers_of_two(np.array([0])) == [(0, 0, 1)]


@given(st.lists(st.integers(0, 2**50), min_size=1))
def test_every_size_is_in_one_bin(sizes: list[int]) -> None:
    for low, high, count in powers_of_two(np.array(sizes, np.int64)):
        assert count == sum(low <= size <= high for size in sizes)
    assert sum(count for _, _, count in powers_of_two(np.array(sizes, np.int64))) == len(sizes)


@pytest.mark.parametrize("width", [80, 20])
def test_one_plain_line_a_bin_however_wide_the_terminal(width: int) -> None:
    out = io.StringIO()
    bins = [(0, 0, 1), (512, 1023, 1000), (1024, 2047, 500)]
    Console(file=out, width=width).print(Group(histogram(bins, "rows", "buckets")))
    expected = [
        "          rows  buckets",
        "             0        1  #",
        f"  512 to 1,023    1,000  {'#' * BAR_WIDTH}",
        f"1,024 to 2,047      500  {'#' * (BAR_WIDTH // 2)}",
    ]
    assert out.getvalue().splitlines() == [line[:width] for line in expected]
