"""How the codes of a group of 64 rows lie in memory: [8·W, 64] uint8, byte j of row i at 64·j + i.

So one vector of 64 bytes holds the same byte of every row of a group, a kernel keeps a number for each of the 64 rows
in as many byte lanes, and a group of any width is one contiguous stretch of memory. Byte j of a code is byte j % 8,
from the lowest, of its word j // 8. Positions count rows from `codes_at`, the address of a page's codes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from negmine_server.index.native import Scalar, inlined, load_u8, store_u8

GROUP_ROWS = 64
_LINE_BYTES = 64


def code_space(rows: int, words: int) -> NDArray[np.uint8]:
    """Zeroed codes [rows / 64, 8·W, 64], aligned to lines of the cache. Untouched memory occupies no RAM."""
    size = rows * words * 8
    space = np.zeros(size + _LINE_BYTES, np.uint8)
    first = -space.ctypes.data % _LINE_BYTES
    return space[first : first + size].reshape(rows // GROUP_ROWS, 8 * words, GROUP_ROWS)


@inlined
def _byte_at(words: int, position: int, byte: int) -> Scalar:
    return ((position >> 6) * words * 8 + byte) * 64 + (position & 63)


@inlined
def load_byte(codes_at: Scalar, words: int, position: int, byte: int) -> Scalar:
    """Byte `byte` (uint8) of a row's code."""
    return load_u8(codes_at, _byte_at(words, position, byte))


@inlined
def load_word(codes_at: Scalar, words: int, position: int, word: int) -> Scalar:
    """Word `word` (uint64) of a row's code."""
    value = np.uint64(0)
    for k in range(8):
        value |= np.uint64(load_byte(codes_at, words, position, 8 * word + k)) << np.uint64(8 * k)
    return value


@inlined
def store_word(codes_at: Scalar, words: int, position: int, word: int, value: Scalar) -> None:
    """Sets word `word` of a row's code."""
    for k in range(8):
        byte = np.uint8((value >> np.uint64(8 * k)) & np.uint64(255))
        store_u8(codes_at, _byte_at(words, position, 8 * word + k), byte)
