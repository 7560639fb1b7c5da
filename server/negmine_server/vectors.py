"""Embeddings as a collection keeps them beside the codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, VectorStore

_BLOCK_ROWS = 128


def stored(vectors: F32, store: VectorStore) -> tuple[NDArray[Any] | None, F32 | None]:
    """Vectors [n, d] in the store's type, with the scales [n] of int8 rows: value = int8 * scale."""
    if store is VectorStore.NONE:
        return None, None
    if store is VectorStore.INT8:
        return _quantised(vectors)
    if store is VectorStore.FLOAT16:
        return vectors.astype(np.float16), None
    return np.ascontiguousarray(vectors, np.float32), None


def _quantised(vectors: F32) -> tuple[NDArray[np.int8], F32]:
    """A block at a time, so that what lies between stays in the cache."""
    values, scales = np.empty(vectors.shape, np.int8), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        steps = np.abs(vectors[block])
        scales[block] = steps.max(axis=1) / np.float32(127)
        safe = np.where(scales[block] > 0, scales[block], np.float32(1))
        np.divide(vectors[block], safe[:, None], out=steps)
        values[block] = np.rint(steps, out=steps)
    return values, scales


def restored(vectors: NDArray[Any], scales: F32 | None) -> F32:
    """Stored vectors as float32 [n, d]."""
    values = vectors.astype(np.float32)
    return values if scales is None or vectors.dtype != np.int8 else values * scales[:, None]
