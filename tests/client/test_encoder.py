"""Sign codes against the plain formula in float64."""

from __future__ import annotations

import numpy as np
import pytest
from negmine.encoder import Encoder, lengths_of

ROWS = np.random.default_rng(0).standard_normal((1500, 40)).astype(np.float32) * 3
MEAN = np.random.default_rng(1).standard_normal(40).astype(np.float32)


@pytest.mark.parametrize("mean", [None, MEAN])
@pytest.mark.parametrize("cosine", [True, False])
def test_codes_and_corrections_are_what_the_formula_says(mean: np.ndarray | None, cosine: bool) -> None:
    encoder = Encoder(40, 128, seed=5, mean=mean, cosine=cosine)
    codes = encoder.encode(ROWS)
    wide = ROWS.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    compared = wide / lengths if cosine else wide
    residual = compared if mean is None else compared - mean
    z = residual @ encoder.rotation.astype(np.float64).T
    clear = np.abs(z) > 1e-6  # float32 inputs decide nothing nearer to zero
    bits = np.unpackbits(codes.words.view(np.uint8), axis=1, bitorder="little").astype(bool)
    assert (bits == (z >= 0))[clear].all()
    norms = np.linalg.norm(residual, axis=1)
    np.testing.assert_allclose(codes.corrections, norms**2 / np.abs(z).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(codes.norms, 1 if cosine else lengths[:, 0], rtol=1e-6)


@pytest.mark.parametrize("mean", [None, MEAN])
def test_a_row_has_the_same_code_alone_and_with_its_length_given(mean: np.ndarray | None) -> None:
    encoder = Encoder(40, 128, seed=5, mean=mean)
    codes = encoder.encode(ROWS)
    measured = encoder.encode_measured(ROWS, lengths_of(ROWS))
    np.testing.assert_array_equal(measured.words, codes.words)
    np.testing.assert_array_equal(measured.corrections, codes.corrections)
    for row in (0, 700, 1499):
        np.testing.assert_array_equal(encoder.encode(ROWS[row : row + 1]).words, codes.words[row : row + 1])
