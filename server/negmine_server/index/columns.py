"""Moves rows between item-major arrays and the columns of pages, by row number, through the pages' addresses.

`addresses` [P] are a column's base addresses, one a page, 0 where the page lacks the column; row r is in page
r >> shift at r & (2^shift - 1). Values of eight and four bytes travel as unsigned integers of that size.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64
from negmine_server.index.layout import load_word, store_word
from negmine_server.index.native import (
    Scalar,
    as_compiled,
    compiled,
    inlined,
    load_u8,
    load_u32,
    load_u64,
    store_u8,
    store_u32,
    store_u64,
)

U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]


def put(addresses: U64, shift: int, rows: I64, values: NDArray[Any]) -> None:
    """Writes values [n] (of 4 or 8 bytes) or [n, m] at rows [n]; every page has the column."""
    values = as_compiled(values)
    if values.ndim == 1 and values.itemsize == 8:
        _put_64(addresses, shift, rows, values.view(np.uint64))
    elif values.ndim == 1 and values.itemsize == 4:
        _put_32(addresses, shift, rows, values.view(np.uint32))
    else:
        _put_bytes(addresses, shift, rows, _as_bytes(values))


def take(addresses: U64, shift: int, rows: I64, into: NDArray[Any]) -> None:
    """Reads rows [n] into [n] (of 4 or 8 bytes) or [n, m]; what a page lacks stays as it is there."""
    if into.ndim == 1 and into.itemsize == 8:
        _take_64(addresses, shift, rows, into.view(np.uint64))
    elif into.ndim == 1 and into.itemsize == 4:
        _take_32(addresses, shift, rows, into.view(np.uint32))
    else:
        _take_bytes(addresses, shift, rows, _as_bytes(into))


def _as_bytes(values: NDArray[Any]) -> U8:
    return values.view(np.uint8).reshape(values.shape[0], values.itemsize * math.prod(values.shape[1:]))


@inlined
def _position(row: int, shift: int) -> Scalar:
    return row & ((1 << shift) - 1)


@compiled
def put_codes(addresses: U64, shift: int, rows: I64, codes: U64) -> None:
    """Writes codes [n, W] at rows [n]."""
    words = codes.shape[1]
    for i in range(rows.shape[0]):
        for word in range(words):
            store_word(addresses[rows[i] >> shift], words, _position(rows[i], shift), word, codes[i, word])


@compiled
def take_codes(addresses: U64, shift: int, rows: I64, words: int) -> U64:
    """Codes [n, W] of rows [n]."""
    codes = np.empty((rows.shape[0], words), np.uint64)
    for i in range(rows.shape[0]):
        for word in range(words):
            codes[i, word] = load_word(addresses[rows[i] >> shift], words, _position(rows[i], shift), word)
    return codes


@compiled
def _put_64(addresses: U64, shift: int, rows: I64, values: U64) -> None:
    for i in range(rows.shape[0]):
        store_u64(addresses[rows[i] >> shift], _position(rows[i], shift), values[i])


@compiled
def _put_32(addresses: U64, shift: int, rows: I64, values: U32) -> None:
    for i in range(rows.shape[0]):
        store_u32(addresses[rows[i] >> shift], _position(rows[i], shift), values[i])


@compiled
def _put_bytes(addresses: U64, shift: int, rows: I64, values: U8) -> None:
    width = values.shape[1]
    for i in range(rows.shape[0]):
        at = addresses[rows[i] >> shift] + np.uint64(_position(rows[i], shift) * width)
        source = np.uint64(values.ctypes.data) + np.uint64(i * width)
        for k in range(width):
            store_u8(at, k, load_u8(source, k))


@compiled
def _take_64(addresses: U64, shift: int, rows: I64, values: U64) -> None:
    for i in range(rows.shape[0]):
        base = addresses[rows[i] >> shift]
        if base != 0:
            values[i] = load_u64(base, _position(rows[i], shift))


@compiled
def _take_32(addresses: U64, shift: int, rows: I64, values: U32) -> None:
    for i in range(rows.shape[0]):
        base = addresses[rows[i] >> shift]
        if base != 0:
            values[i] = load_u32(base, _position(rows[i], shift))


@compiled
def _take_bytes(addresses: U64, shift: int, rows: I64, values: U8) -> None:
    width = values.shape[1]
    for i in range(rows.shape[0]):
        base = addresses[rows[i] >> shift]
        if base != 0:
            source = base + np.uint64(_position(rows[i], shift) * width)
            at = np.uint64(values.ctypes.data) + np.uint64(i * width)
            for k in range(width):
                store_u8(at, k, load_u8(source, k))
