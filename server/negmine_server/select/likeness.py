"""How alike the candidates of an anchor are: from stored vectors, or estimated from sign codes where there are none.

Two codes that differ in h of b bits stand for unit vectors at an angle of about π h / b, so that with signs ±1/√b,
whose inner product is 1 - 2 h / b, the estimated cosine is sin(π/2 · product).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Bool
from negmine_server.index.native import kernel

_BLOCK_BYTES = 1 << 20  # of vectors, or of products, at a time: what a core's cache holds
_RESOLUTION = np.float32(2e-6)  # half a squared distance, relative to half a squared length, that float32 takes for 0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """The candidates of a few anchors."""

    values: F32  # [b, P, f], vectors or signs ±1/√b
    lengths: F32  # [b, P], of the items' vectors
    coded: bool

    def to(self, places: I64) -> F32:
        """Inner products [b, P] of every candidate with the one at `places` [b] of the same anchor."""
        chosen = np.arange(len(places)), places
        products = np.matmul(self.values, self.values[chosen][:, :, None])[:, :, 0]
        return self._scaled(products, self.lengths[chosen][:, None], self.lengths)

    def mean_distances(self, there: Bool) -> F32:
        """The mean Euclidean distance [b, P] of every candidate to the others that are marked in `there` [b, P]."""
        width = there.shape[1]
        sums = np.zeros(there.shape, np.float32)
        halves: F32 = self.lengths * self.lengths * np.float32(0.5)
        step = _rows(width)
        for start in range(0, width, step):
            part = slice(start, start + step)
            some = self.values if step == width else self.values[:, part]
            products = np.matmul(some, self.values.transpose(0, 2, 1))
            products = self._scaled(products, self.lengths[:, part, None], self.lengths[:, None, :])
            _add_distances(
                products, np.ascontiguousarray(halves[:, part]), halves, np.ascontiguousarray(there[:, part]), sums
            )
        sums *= np.float32(np.sqrt(2)) / np.maximum(there.sum(axis=1, keepdims=True, dtype=np.float32) - 1, 1)
        return sums

    def _scaled(self, products: F32, some: F32, all_: F32) -> F32:
        if self.coded:
            np.clip(products, -1, 1, out=products)
            products *= np.float32(np.pi / 2)
            np.sin(products, out=products)
            products *= some
            products *= all_
        return products


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What is known of the candidates [B, P]; places without one are copies of some item: mask them."""

    rows: I64  # [B, P] of values
    values: F32  # [U, f], stored vectors or signs ±1/√b
    lengths: F32  # [U], of the items' vectors
    coded: bool

    def blocks(self) -> Iterator[tuple[slice, Block]]:
        """Runs of anchors, each with all their candidates."""
        anchors, width = self.rows.shape
        step = max(1, _BLOCK_BYTES // (4 * max(1, width) * max(1, _rows(width), self.values.shape[1])))
        for start in range(0, anchors, step):
            part = slice(start, min(start + step, anchors))
            rows = self.rows[part]
            yield part, Block(self.values[rows], self.lengths[rows], self.coded)


def of_vectors(rows: I64, vectors: F32) -> Likeness:
    """From stored vectors [U, d] of the candidates' rows [B, P]."""
    return Likeness(rows, vectors, np.sqrt(np.einsum("uf,uf->u", vectors, vectors)), coded=False)


def of_codes(rows: I64, codes: U64, lengths: NDArray[Any] | None) -> Likeness:
    """From codes [U, W], and the items' lengths [U] where they are not 1."""
    bits = np.unpackbits(np.ascontiguousarray(codes).view(np.uint8), axis=1, bitorder="little")
    signs = (bits.astype(np.float32) * 2 - 1) / np.sqrt(np.float32(max(1, bits.shape[1])))
    ones = np.ones(len(codes), np.float32)
    return Likeness(rows, signs, ones if lengths is None else lengths.astype(np.float32), coded=True)


def _rows(width: int) -> int:
    """Candidates whose products with all `width` are made at a time: for an anchor by itself, whatever its batch."""
    return max(1, min(width, _BLOCK_BYTES // (4 * max(1, width))))


@kernel
def _add_distances(products: F32, some: F32, others: F32, there: Bool, sums: F32) -> None:
    """Adds to sums [b, P] the distances / √2 from those of `some` that are there: roots of (|x|² + |y|²) / 2 - x·y.

    Halves of squared lengths are some [b, p] and others [b, P]; products [b, p, P].
    """
    for anchor in range(products.shape[0]):
        for one in range(products.shape[1]):
            if there[anchor, one]:
                half = some[anchor, one]
                least = _RESOLUTION * half
                for other in range(products.shape[2]):
                    square = half + others[anchor, other] - products[anchor, one, other]
                    sums[anchor, other] += np.sqrt(square) if square > least else np.float32(0)
