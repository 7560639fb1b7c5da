"""Exact scores on stored vectors.

    score = dot(stored, anchor) [· scale of the item, when stored as int8]

The dot product has one fixed order of float32 operations (`scan.simd`): the same answer alone or in a batch. A scan
prefilters blocks of rows by a matrix product, whose order BLAS chooses: both sums lie within γ_d·|x|·|q| of the true
one (Higham 2002, section 3.1; γ_d = d·u / (1 - d·u), u = 2^-24), so a row is scored in fixed order if the product plus
2·γ·|x|·|q| reaches the bar, and none is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, Query, VectorStore
from negmine_server.index.native import Scalar, as_compiled, kernel, load_f32
from negmine_server.index.pages import Column, View
from negmine_server.scan.admission import Filters, Pages, offer, pages_of
from negmine_server.scan.simd import dot_float16, dot_float32, dot_int8
from negmine_server.scan.topr import Buffers

_VECTORS = int(Column.VECTORS)
_SCALES = int(Column.SCALES)
_BLOCK_ROWS = 1024
_INT8, _FLOAT16, _FLOAT32 = 1, 2, 4  # a stored element by its bytes, as kernels take it
ELEMENTS = {VectorStore.INT8: _INT8, VectorStore.FLOAT16: _FLOAT16, VectorStore.FLOAT32: _FLOAT32}
_UNIT_ROUNDOFF = 2.0**-24
_SMALLEST = 1e-37  # covers products that underflow


@kernel
def vector_score(pages: Pages, slot: int, position: int, anchor: F32, element: int) -> Scalar:
    """The score of one row with an anchor [d]; NaN if its page holds no vectors."""
    dimension = anchor.shape[0]
    base = pages.directory[_VECTORS, slot]
    if base == 0:
        return np.float32(np.nan)
    at = base + np.uint64(position * dimension * element)
    anchor_at = np.uint64(anchor.ctypes.data)
    if element == _FLOAT32:
        return dot_float32(at, anchor_at, dimension)
    if element == _FLOAT16:
        return dot_float16(at, anchor_at, dimension)
    dot = dot_int8(at, anchor_at, dimension)
    scales = pages.directory[_SCALES, slot]
    return dot * load_f32(scales, position) if scales != 0 else dot


@kernel
def _score_rows(pages: Pages, rows: I64, anchors: F32, element: int, scores: F32) -> None:
    mask = (1 << pages.shift) - 1
    for q in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            if rows[q, i] >= 0:
                slot, position = rows[q, i] >> pages.shift, rows[q, i] & mask
                scores[q, i] = vector_score(pages, slot, position, anchors[q], element)


def exact_scores(view: View, rows: I64, anchors: F32) -> F32:
    """Scores [B, R] of rows [B, R] with anchors [B, d]; -inf where the row is negative."""
    scores = np.full(rows.shape, -np.inf, np.float32)
    _score_rows(pages_of(view), as_compiled(rows), as_compiled(anchors), ELEMENTS[view.store], scores)
    return scores


@kernel
def _take_block(
    pages: Pages,
    filters: Filters,
    buffers: Buffers,
    slot: int,
    start: int,
    products: F32,
    margins: F32,
    lengths: F32,
    anchors: F32,
    element: int,
) -> None:
    """Offers the rows of a block whose products [B, n] may reach the bar within margins [n] · lengths [B]."""
    for q in range(products.shape[0]):
        for i in range(products.shape[1]):
            if products[q, i] + margins[i] * lengths[q] >= buffers.bar_scores[q]:
                score = vector_score(pages, slot, start + i, anchors[q], element)
                offer(pages, filters, buffers, q, slot, start + i, score)


def scan_floats(view: View, query: Query, filters: Filters, buffers: Buffers) -> None:
    """Scans every page for anchors with vectors [B, d] into the buffers."""
    assert query.vectors is not None, "a float scan needs vectors"
    anchors = as_compiled(query.vectors)
    dimension = anchors.shape[1]
    element = ELEMENTS[view.store]
    lengths = _lengths(anchors)
    # Twice γ, with room for the rounding of the scale and of this bound's own arithmetic.
    gamma = 2.1 * (dimension + 4) * _UNIT_ROUNDOFF / (1 - (dimension + 4) * _UNIT_ROUNDOFF)
    pages = pages_of(view)
    for slot, page in enumerate(view.pages):
        count = int(view.counts[slot])
        if page is None or not view.directory[_VECTORS, slot]:
            continue
        for start in range(0, count, _BLOCK_ROWS):
            stop = min(count, start + _BLOCK_ROWS)
            block: NDArray[Any] = page.arrays[Column.VECTORS][start:stop].astype(np.float32, copy=False)
            if view.directory[_SCALES, slot]:
                block = block * page.arrays[Column.SCALES][start:stop, None]
            margins = (gamma * _lengths(block) + _SMALLEST).astype(np.float32)
            _take_block(pages, filters, buffers, slot, start, anchors @ block.T, margins, lengths, anchors, element)


def _lengths(vectors: F32) -> F32:
    """Euclidean lengths [n], rounded up."""
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    return np.asarray(np.sqrt(squares) * (1 + 1e-6), np.float32)
