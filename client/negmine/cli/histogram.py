"""Sizes as a histogram in plain text: one line a power of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

BAR_WIDTH = 40  # characters of the longest bar


def powers_of_two(sizes: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """Bins (lowest, highest, count) of sizes [n] >= 0 from the smallest to the largest: 0, 1, 2 to 3, 4 to 7, …

    Bins between two that hold something are there with a count of 0; those between 0 and the smallest size are not.
    """
    counts = np.bincount(np.frexp(sizes.astype(np.float64))[1])  # by bit length
    held = np.flatnonzero(counts[1:])
    first = 1 + int(held[0]) if held.size else len(counts)
    zero = [(0, 0, int(counts[0]))] if counts[0] else []
    return zero + [(1 << bits - 1, (1 << bits) - 1, int(counts[bits])) for bits in range(first, len(counts))]


def histogram(bins: Sequence[tuple[int, int, int]], sizes: str, counts: str) -> Text:
    """Bins (lowest, highest, count), at least one, as lines with bars; `sizes` and `counts` are the headings."""
    most = max(count for _, _, count in bins)
    labels = [f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high, _ in bins]
    numbers = [f"{count:,}" for _, _, count in bins]
    bars = ["#" * max(round(BAR_WIDTH * count / most), min(count, 1)) for _, _, count in bins]
    wide, narrow = (max(map(len, column)) for column in ((sizes, *labels), (counts, *numbers)))
    text = Text(no_wrap=True, overflow="crop")
    text.append(f"{sizes:>{wide}}  {counts:>{narrow}}", "bold")
    for label, number, bar in zip(labels, numbers, bars, strict=True):
        text.append(f"\n{label:>{wide}}  {number:>{narrow}}  {bar}".rstrip(" "))
    return text
