"""What a user would write: int8 products and topk of torch, over codes unpacked before; and FAISS where it is there.

torch's products double as the truth that our answers are checked against: all arithmetic is exact in int32.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

CHUNK_ROWS = 1 << 20
PRODUCT_ROWS_MIN = 32  # torch._int_mm takes more than 16 rows, in multiples of 8

Search = Callable[[], torch.Tensor]


def unpacked(codes: torch.Tensor) -> torch.Tensor:
    """codes int64 [n, W] -> int8 [n, 64·W] of +1 and -1."""
    n, words = codes.shape
    signs = torch.empty((n, 64 * words), dtype=torch.int8, device=codes.device)
    shifts = torch.arange(8, dtype=torch.uint8, device=codes.device)
    for start in range(0, n, CHUNK_ROWS):
        part = codes[start : start + CHUNK_ROWS].contiguous().view(torch.uint8)
        bits = (part[:, :, None] >> shifts) & 1
        signs[start : start + CHUNK_ROWS] = bits.reshape(len(part), -1).to(torch.int8) * 2 - 1
    return signs


class TorchProducts:
    """Dot products by torch._int_mm, then topk, chunk by chunk: the matrix of scores does not fit as a whole.

    Args:
        signs: int8 [n, bits] of +1 and -1.
        corrections: float32 [n] that products are multiplied by; None = they are the scores.
    """

    name = "torch._int_mm + topk"

    def __init__(self, signs: torch.Tensor, corrections: torch.Tensor | None = None) -> None:
        self._signs, self._corrections = signs, corrections

    def search(self, values: torch.Tensor, scales: torch.Tensor | None, k: int) -> torch.Tensor:
        """The k highest scores [B, k] of anchors int8 [B, bits], descending: int32, or float32 with corrections."""
        b = len(values)
        if b < PRODUCT_ROWS_MIN:
            values = torch.cat([values, values.new_zeros((PRODUCT_ROWS_MIN - b, values.shape[1]))])
        best: torch.Tensor | None = None
        for start in range(0, len(self._signs), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            scores = torch._int_mm(values, self._signs[part].t())[:b]
            if self._corrections is not None:
                assert scales is not None, "corrected products have scales"
                scores = (scores.to(torch.float32) * self._corrections[part]) * scales[:, None]
            top = torch.topk(scores, min(k, scores.shape[1]), dim=1).values
            best = top if best is None else torch.topk(torch.cat([best, top], dim=1), k, dim=1).values
        assert best is not None, "there are rows"
        return best


def faiss_flat(codes: NDArray[np.uint64], anchors: NDArray[np.uint64], k: int) -> Callable[[], Any] | str:
    """FAISS's GpuIndexBinaryFlat over codes [n, W], ready to be called; or why there is none."""
    try:
        faiss = importlib.import_module("faiss")
    except ImportError as error:
        return f"FAISS does not import: {error}"
    if not hasattr(faiss, "GpuIndexBinaryFlat"):
        return "this build of FAISS has no GPU indexes"
    try:
        index = faiss.GpuIndexBinaryFlat(faiss.StandardGpuResources(), codes.shape[1] * 64)
        index.add(codes.view(np.uint8))
    except RuntimeError as error:
        return f"FAISS cannot use this GPU: {error}"
    return lambda: index.search(anchors.view(np.uint8), k)[0]
