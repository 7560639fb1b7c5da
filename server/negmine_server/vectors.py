"""Embeddings as a collection keeps them beside the codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, VectorStore


def stored(vectors: F32, store: VectorStore) -> tuple[NDArray[Any] | None, F32 | None]:
    """Vectors [n, d] in the store's type, with the scales [n] of int8 rows: value = int8 * scale."""
    if store is VectorStore.NONE:
        return None, None
    if store is VectorStore.INT8:
        scales = np.abs(vectors).max(axis=1) / np.float32(127)
        safe = np.where(scales > 0, scales, np.float32(1))
        return np.rint(vectors / safe[:, None]).astype(np.int8), scales
    if store is VectorStore.FLOAT16:
        return vectors.astype(np.float16), None
    return np.ascontiguousarray(vectors, np.float32), None


def restored(vectors: NDArray[Any], scales: F32 | None) -> F32:
    """Stored vectors as float32 [n, d]."""
    values = vectors.astype(np.float32)
    return values if scales is None or vectors.dtype != np.int8 else values * scales[:, None]
