"""Codes made on the client: the collection's encoder with its fingerprint beside every code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from negmine import _arrays, encoder


@dataclass(frozen=True, eq=False)
class Codes(encoder.Codes):
    """Sign codes of n items with the fingerprint of the encoder that made them.

    Attributes:
        words: uint64 [n, bits / 64].
        corrections: float32 [n].
        norms: float32 [n].
        fingerprint: of the encoder; another one than the collection's is refused.
    """

    fingerprint: str

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, rows: slice) -> Codes:
        return Codes(self.words[rows], self.corrections[rows], self.norms[rows], self.fingerprint)


class Encoder(encoder.Encoder):
    """A collection's encoder, from `Collection.encoder()`: saves sending floats where codes are enough."""

    def encode(self, embeddings: Any) -> Codes:
        """Codes of embeddings [n, d], float32, float16, bfloat16 or float64, finite and not zero.

        Raises:
            InvalidInput: wrong shape or type, or a row that is zero or not finite.
        """
        rows = _arrays.to_float32(embeddings, "embeddings", self.dimension)
        made = super().encode(rows)
        return Codes(made.words, made.corrections, made.norms, self.fingerprint)
