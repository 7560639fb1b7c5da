"""The bounds hold for real hyperplanes, and bits follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from negmine import InvalidInput, bounds

TRIALS = 20000


def differing(random: np.random.Generator, bits: int, *angles: float) -> list[np.ndarray]:
    """Shares of bits that differ between an anchor and items at these angles, over independent hyperplanes."""
    normals = random.normal(size=(TRIALS, bits, 2))  # what lies outside of the plane of the vectors decides nothing
    anchor = normals[..., 0] >= 0
    return [((normals @ [math.cos(a), math.sin(a)] >= 0) != anchor).mean(1) for a in angles]


@pytest.mark.parametrize(("bits", "epsilon"), [(64, 0.1), (128, 0.08), (128, 0.12)])
def test_hamming_distances_are_rarely_off(bits: int, epsilon: float) -> None:
    (share,) = differing(np.random.default_rng(bits), bits, 1.2)
    off = (np.abs(share - 1.2 / math.pi) >= epsilon).mean()
    assert off <= bounds.angle_error(bits, epsilon)
    assert bounds.angle_error(bits, epsilon) < 1


def test_the_farther_item_is_rarely_ranked_first() -> None:
    near, far = differing(np.random.default_rng(0), 128, 0.8, 1.5)
    swapped = (far <= near).mean()
    assert swapped <= bounds.misranking(128, 0.7) < 0.1


def test_formulas() -> None:
    assert bounds.angle_error(128, 0.1) == pytest.approx(2 * math.exp(-2.56))
    assert bounds.angle_error(64, 1e-9) == 1.0
    assert bounds.misranking(256, 0.5) == pytest.approx(math.exp(-256 * 0.25 / (2 * math.pi**2)))


@pytest.mark.parametrize("wanted", [0.3, 0.05, 1e-6])
@pytest.mark.parametrize("size", [0.5, 0.1, 0.02])
def test_bits_are_the_fewest_words_that_do(size: float, wanted: float) -> None:
    for bits_for, of in ((bounds.bits_for_angle_error, bounds.angle_error),
                         (bounds.bits_for_misranking, bounds.misranking)):  # fmt: skip
        bits = bits_for(size, wanted)
        assert bits % 64 == 0
        assert of(bits, size) <= wanted
        assert bits == 64 or of(bits - 64, size) > wanted


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_bad_values_are_named(value: float) -> None:
    for call in (bounds.angle_error, bounds.misranking):
        with pytest.raises(InvalidInput, match=f"bits is {value}"):
            call(value, 0.1)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=f"epsilon is {value}"):
        bounds.bits_for_angle_error(value, 0.1)
    with pytest.raises(InvalidInput, match=f"gap is {value}"):
        bounds.bits_for_misranking(value, 0.1)
    with pytest.raises(InvalidInput, match=f"probability is {value}"):
        bounds.bits_for_misranking(0.1, value)
