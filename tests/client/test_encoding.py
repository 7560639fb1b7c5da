"""Codes made on the client."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from negmine import encoder
from negmine._calls import encoder as encoder_of
from negmine._models import CollectionInfo


def info(fingerprint: str, mean: np.ndarray | None = None) -> CollectionInfo:
    mark = negmine.Watermark("i", 1, (0,))
    return CollectionInfo(
        "c", 8, 64, "cosine", "none", 3, mean, None, 1, 0.9, fingerprint, mark, negmine.Version(0, 0), 0, 5, "serving",
        "", 0,
    )  # fmt: skip


def test_codes_carry_the_fingerprint_and_slice() -> None:
    made = negmine.Encoder(8, 64, seed=3)
    vectors = np.random.default_rng(0).standard_normal((5, 8))
    codes = made.encode(vectors)
    base = encoder.Encoder(8, 64, seed=3).encode(vectors.astype(np.float32))
    np.testing.assert_array_equal(codes.words, base.words)
    assert codes.fingerprint == made.fingerprint
    assert len(codes) == 5
    np.testing.assert_array_equal(codes[1:3].words, codes.words[1:3])
    assert codes[1:3].fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.ones((2, 7)), "embeddings has dimension 7; expected 8"),
        (np.ones((2, 8), int), "embeddings has dtype int64"),
        (np.stack([np.ones(8), np.zeros(8)]), r"embeddings\[1\] is zero or not finite"),
        (np.full((1, 8), np.nan), r"embeddings\[0\] is zero or not finite"),
    ],
)
def test_what_has_no_code_is_refused(wrong: np.ndarray, message: str) -> None:
    with pytest.raises(negmine.InvalidInput, match=message):
        negmine.Encoder(8, 64).encode(wrong)


def test_an_encoder_is_checked_by_its_fingerprint() -> None:
    mean = np.arange(8, dtype=np.float32)
    right = negmine.Encoder(8, 64, seed=3, mean=mean).fingerprint
    assert encoder_of(info(right, mean)).fingerprint == right
    with pytest.raises(negmine.FingerprintMismatch, match="use the server's version"):
        encoder_of(info(right))
    with pytest.raises(negmine.NotReady, match="is not frozen") as caught:
        encoder_of(info(""))
    assert caught.value.reason == "ENCODER_NOT_FROZEN"
