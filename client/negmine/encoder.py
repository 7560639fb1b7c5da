"""Sign codes of embeddings, the same on client and server.

`z = R (x - mean)` with orthonormal rows in R; bit j is set where z_j >= 0, for x of unit length when the metric is
cosine (binary LSH for hard-negative sampling, 2025; DESIGN "Encoder"). For bits > dimension, R stacks independent
orthonormal blocks. The correction of an item is `|x - mean| / sum_j |o_j|`, with o the projection of the unit residual:
`<R q, sign(z)> * correction` estimates `<q, x - mean>` without bias (RaBitQ).

The same vector gives the same code alone or in any batch: projections are made in float32 by BLAS, whose rounding
depends on the batch's shape, and every projection within its error bound of zero is made again in float64.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

FORMAT = 1  # part of the fingerprint: raised when the same inputs would give other codes
BITS_MAX = 4096
DIMENSION_MAX = 8192
_BLOCK_ROWS = 1024  # rows projected at once: bounds the temporary arrays
_EXACT_VALUES = 1 << 20  # values of the pairs that are projected in float64 at once: the same


@dataclass(frozen=True, eq=False)
class Codes:
    """Sign codes of n items.

    Attributes:
        words: uint64 [n, bits / 64]; bit j is bit (j % 64) of word (j // 64).
        corrections: float32 [n], the factor of the asymmetric estimate.
        norms: float32 [n], the embeddings' lengths before centring (1 where the metric is cosine).
    """

    words: U64
    corrections: F32
    norms: F32


class Encoder:
    """Fixed by (seed, dimension, bits, mean, cosine); never changes under a collection.

    Args:
        dimension: length of the embeddings, 1 to 8192.
        bits: a multiple of 64 from 64 to 4096.
        seed: of the rotation, 0 to 2**64 - 1.
        mean: float32 [dimension] that is subtracted, or None for zero.
        cosine: embeddings are scaled to unit length first.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, dimension: int, bits: int, *, seed: int = 0, mean: F32 | None = None, cosine: bool = True
    ) -> None:
        if not 1 <= dimension <= DIMENSION_MAX:
            raise ValueError(f"dimension is {dimension}; expected 1 to {DIMENSION_MAX}")
        if bits % 64 or not 64 <= bits <= BITS_MAX:
            raise ValueError(f"bits is {bits}; expected a multiple of 64 from 64 to {BITS_MAX}")
        if mean is not None and (mean.shape != (dimension,) or not np.isfinite(mean).all()):
            raise ValueError(f"mean has shape {mean.shape}; expected finite values of shape ({dimension},)")
        self.dimension = dimension
        self.bits = bits
        self.seed = seed
        self.cosine = cosine
        self.mean: F32 | None = None
        if mean is not None and mean.any():
            self.mean = np.ascontiguousarray(mean, np.float32)

    @property
    def words(self) -> int:
        """64-bit words of a code."""
        return self.bits // 64

    @cached_property
    def fingerprint(self) -> str:
        """Names what decides the codes: two encoders with the same fingerprint make the same codes."""
        state = f"negmine-encoder/{FORMAT} {self.dimension} {self.bits} {self.seed} {self.cosine}".encode()
        mean = b"" if self.mean is None else self.mean.tobytes()
        return hashlib.blake2b(state + mean, digest_size=16).hexdigest()

    @cached_property
    def rotation(self) -> F32:
        """float32 [bits, dimension], orthonormal rows (per block of `dimension` rows)."""
        random = np.random.Generator(np.random.Philox(self.seed))
        blocks: list[F64] = []
        for first in range(0, self.bits, self.dimension):
            rows = min(self.dimension, self.bits - first)
            q, r = np.linalg.qr(random.standard_normal((self.dimension, rows)))
            blocks.append((q * np.where(np.diagonal(r) < 0, -1.0, 1.0)).T)  # the sign makes the factorisation unique
        return np.ascontiguousarray(np.concatenate(blocks), np.float32)

    def prepare(self, embeddings: F32, lengths: F32) -> F32:
        """Embeddings [n, d] of these lengths [n] as they are compared: of unit length when the metric is cosine."""
        return embeddings / lengths[:, None] if self.cosine else embeddings

    def encode(self, embeddings: F32) -> Codes:
        """Codes of embeddings [n, d] float32, finite and not zero."""
        return self.encode_measured(embeddings, lengths_of(embeddings))

    def encode_measured(self, embeddings: F32, lengths: F32) -> Codes:
        """As `encode`, for embeddings whose lengths [n] are known."""
        n = len(embeddings)
        words = np.empty((n, self.words), np.uint64)
        corrections = np.empty(n, np.float32)
        norms = np.empty(n, np.float32)
        for start in range(0, n, _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            words[block], corrections[block], norms[block] = self._encode_block(embeddings[block], lengths[block])
        return Codes(words, corrections, norms)

    def project(self, embeddings: F32) -> F64:
        """`R x` in float64 [n, bits], without centring: anchors for asymmetric scoring, whatever batch they came in."""
        return embeddings.astype(np.float64) @ self._rotation64.T

    @cached_property
    def _rotation64(self) -> F64:
        return self.rotation.astype(np.float64)

    def _encode_block(self, embeddings: F32, lengths: F32) -> tuple[U64, F32, F32]:
        residual = self.centred(embeddings, lengths)
        residual_lengths = lengths if self.mean is None else lengths_of(residual)
        z = residual @ self.rotation.T
        magnitudes = np.abs(z)
        doubtful = np.flatnonzero(magnitudes <= (residual_lengths * self.doubt)[:, None])
        if doubtful.size:
            exact = self.project_exactly(residual, *np.divmod(doubtful, self.bits))
            z.reshape(-1)[doubtful] = exact
            magnitudes.reshape(-1)[doubtful] = np.abs(exact)
        words = np.packbits(z >= 0, axis=1, bitorder="little").view(np.uint64)
        totals = magnitudes @ np.ones(self.bits, np.float32)
        return words, *self.scaled(lengths, residual_lengths, totals)

    # The steps that another device's encoder shares: between them it makes float32 projections, in any order of sums.

    @property
    def doubt(self) -> np.float32:
        """A float32 projection of a residual of length 1 may have the wrong sign if it is not farther from zero.

        Probabilistic bound of a float32 dot product, 8 sqrt(d) u |x| |y| with |y| = 1 (Higham and Mary, 2019).
        """
        return np.float32(8 * np.sqrt(self.dimension) * 2.0**-24)

    def centred(self, embeddings: F32, lengths: F32) -> F32:
        """What is projected: residuals [n, d] of embeddings [n, d] of these lengths [n], unscaled without a mean."""
        return embeddings if self.mean is None else self.prepare(embeddings, lengths) - self.mean

    def project_exactly(self, residual: F32, rows: I64, columns: I64) -> F64:
        """Projections [m] in float64, of these rows of the residuals onto these columns: what decides in doubt."""
        exact = np.empty(len(rows))
        step = max(1, _EXACT_VALUES // self.dimension)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            pair = residual[rows[part]], self._rotation64[columns[part]]
            exact[part] = np.einsum("ij,ij->i", *pair, dtype=np.float64)
        return exact

    def scaled(self, lengths: F32, residual_lengths: F32, totals: F32 | F64) -> tuple[F32, F32]:
        """Corrections and norms [n], of embeddings of these lengths whose projections' magnitudes add up to totals."""
        norms = np.ones_like(lengths) if self.cosine else lengths
        compared = norms if self.mean is None else residual_lengths  # at the scale that is compared
        corrections = np.divide(compared * residual_lengths, totals, out=np.zeros_like(totals), where=totals > 0)
        return corrections.astype(np.float32, copy=False), norms


def lengths_of(rows: F32) -> F32:
    """Euclidean lengths [n] of rows [n, d]."""
    squares: F32 = np.einsum("ij,ij->i", rows, rows)
    return np.sqrt(squares)
