"""How far Hamming distances between sign codes may be off, and how many bits that takes.

The bits of two vectors at angle theta differ with probability theta / pi each, so the share of bits that differ
estimates theta / pi. Bounds are Hoeffding's, for independent hyperplanes (our derivation); the encoder's are
orthonormal, which does slightly better.
"""

from __future__ import annotations

import math
from typing import Final

from negmine._exceptions import InvalidInput

_WORD_BITS: Final = 64  # codes are made of whole words


def angle_error(bits: int, epsilon: float) -> float:
    """Most probability that the share of differing bits is `epsilon` or more off theta / pi: 2 exp(-2 b epsilon^2)."""
    return min(1.0, 2 * math.exp(-2 * _positive(bits, "bits") * _positive(epsilon, "epsilon") ** 2))


def bits_for_angle_error(epsilon: float, probability: float) -> int:
    """Bits, in whole words, from which on `angle_error(bits, epsilon)` is at most `probability`."""
    return _words(math.log(2 / _probability(probability)) / (2 * _positive(epsilon, "epsilon") ** 2))


def misranking(bits: int, gap: float) -> float:
    """Most probability that the farther of two items is ranked before the nearer: exp(-b gap^2 / (2 pi^2)).

    `gap` is the difference of their angles to the anchor, in radians.
    """
    return math.exp(-_positive(bits, "bits") * _positive(gap, "gap") ** 2 / (2 * math.pi**2))


def bits_for_misranking(gap: float, probability: float) -> int:
    """Bits, in whole words, from which on `misranking(bits, gap)` is at most `probability`."""
    return _words(-math.log(_probability(probability)) * 2 * math.pi**2 / _positive(gap, "gap") ** 2)


def _positive(value: float, field: str) -> float:
    if not (value > 0 and math.isfinite(value)):
        raise InvalidInput(f"{field} is {value}; expected more than 0", field=field)
    return value


def _probability(value: float) -> float:
    if not 0 < value < 1:
        raise InvalidInput(f"probability is {value}; expected more than 0 and less than 1", field="probability")
    return value


def _words(bits: float) -> int:
    return max(1, math.ceil(bits / _WORD_BITS)) * _WORD_BITS
