"""How the codes of a group of 64 rows lie in memory: [W, 64] uint64, word w of row i at 64·w + i.

Positions count rows from `codes_at`, the address of a page's codes.
"""

from __future__ import annotations

from negmine_server.index.native import Scalar, inlined, load_u64, store_u64

GROUP_ROWS = 64


@inlined
def load_word(codes_at: Scalar, words: int, position: int, word: int) -> Scalar:
    """Word `word` (uint64) of a row's code."""
    return load_u64(codes_at, ((position >> 6) * words + word) * 64 + (position & 63))


@inlined
def store_word(codes_at: Scalar, words: int, position: int, word: int, value: Scalar) -> None:
    """Sets word `word` of a row's code."""
    store_u64(codes_at, ((position >> 6) * words + word) * 64 + (position & 63), value)
