"""Vector kernels in LLVM IR, for one group of 64 rows: what LLVM's own vectoriser does not make of a loop.

A byte lane holds a number for each of the group's rows (`index.layout`), and one or four anchors share what is loaded.
On AVX-512 (BITALG) a byte of 64 codes costs an anchor three instructions for the Hamming distance (xor, popcount, add)
and four for a sum of table entries, two look-ups and two additions (the scheme of André, Kermarrec and Le Scouarnec
2015, "Cache locality is not enough"). Elsewhere LLVM splits the vectors. A mask of 64 bits comes back (bit i = row i),
so rows that fall short cost no branch each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import types as _types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

from negmine_server.index.native import Scalar, inlined, load_u8, load_u16

cgutils: Any = _cgutils  # untyped
types: Any = _types

QUAD = 4  # anchors that share the loads of a group's codes
NUMBERS_AT = 64  # where the numbers begin, behind the masks, in the space that a kernel leaves its results in
SPACE_BYTES = NUMBERS_AT + QUAD * 64 * 2
LOOK_UPS = 8  # that are summed in bytes: tables behind one another whose greatest entries add up to at most 255

_ROWS = 64
_PAIRS = _ROWS // 2
_WORDS_AT_ONCE = 3  # words whose distance fits into a byte
_BYTES_AT_ONCE = LOOK_UPS // 2  # of a code
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES, _SHORTS = ir.VectorType(_I8, _ROWS), ir.VectorType(_I16, _PAIRS)
_TABLE = ir.VectorType(_I8, 16)
_EIGHT, _FOUR = ir.Constant(_SHORTS, [8] * _PAIRS), ir.Constant(_BYTES, [4] * _ROWS)
# The instruction that looks up bytes, by the feature of the CPU that it needs, and its lanes.
_SHUFFLES = {
    "avx512bw": ("llvm.x86.avx512.pshuf.b.512", 64),
    "avx2": ("llvm.x86.avx2.pshuf.b", 32),
    "ssse3": ("llvm.x86.ssse3.pshuf.b.128", 16),
    "neon": ("llvm.aarch64.neon.tbl1.v16i8", 16),
}


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _at(builder: Any, base: Any, index: Any, size: int) -> Any:
    return builder.add(base, builder.mul(index, _constant(size)))


def _load(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def _chosen(builder: Any, left: Any, right: Any, order: list[int]) -> Any:
    return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(_I32, len(order)), order))


def _broadcast(builder: Any, scalar: Any, lanes: int) -> Any:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    single = builder.insert_element(undefined, scalar, ir.Constant(_I32, 0))
    return _chosen(builder, single, undefined, [0] * lanes)


def _call(builder: Any, name: str, *vectors: Any) -> Any:
    kind = vectors[0].type
    function = ir.FunctionType(kind, [kind] * len(vectors))
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), vectors)


def _zeros(builder: Any, kind: Any, count: int) -> list[Any]:
    return [cgutils.alloca_once(builder, kind, zfill=True) for _ in range(count)]


class _Totals:
    """Numbers of 16 bits for each row, of each anchor, that are added to in bytes.

    Bytes are added as they lie, two rows to a lane of 16 bits, and the upper ones once more by themselves, so that in
    the end what they brought into the pairs can be taken off again.
    """

    def __init__(self, builder: Any, anchors: int) -> None:
        self._builder = builder
        self._pairs, self._odd = _zeros(builder, _SHORTS, anchors), _zeros(builder, _SHORTS, anchors)

    def add(self, q: int, part: Any) -> None:
        builder = self._builder
        pairs = builder.bitcast(part, _SHORTS)
        for total, value in ((self._pairs[q], pairs), (self._odd[q], builder.lshr(pairs, _EIGHT))):
            builder.store(builder.add(builder.load(total), value), total)

    def even_and_odd(self, q: int) -> list[Any]:
        """The numbers of rows 0, 2, … and of rows 1, 3, …"""
        builder = self._builder
        pairs, odd = builder.load(self._pairs[q]), builder.load(self._odd[q])
        return [builder.sub(pairs, builder.shl(odd, _EIGHT)), odd]


def _add_distances(builder: Any, totals: list[Any], codes: Any, anchors: list[Any], first: Any, words: Any) -> None:
    """total += Hamming distances of words [first, first + words), in bytes that stop at 255."""
    with cgutils.for_range(builder, words) as loop:
        word = builder.add(first, loop.index)
        at = _at(builder, codes, word, 8 * _ROWS)
        places = [_at(builder, anchor, word, 32) for anchor in anchors]
        for byte in range(8):
            row = _load(builder, builder.add(at, _constant(_ROWS * byte)), _BYTES)
            for total, place in zip(totals, places, strict=True):
                four = _load(builder, builder.add(place, _constant(4 * byte)), _I32)
                wanted = builder.bitcast(_broadcast(builder, four, _ROWS // 4), _BYTES)
                bits = _call(builder, "llvm.ctpop.v64i8", builder.xor(row, wanted))
                builder.store(_call(builder, "llvm.uadd.sat.v64i8", builder.load(total), bits), total)


def _distances_in_bytes(builder: Any, features: str, codes: Any, words: Any, anchors: list[Any]) -> list[list[Any]]:
    totals = _zeros(builder, _BYTES, len(anchors))
    _add_distances(builder, totals, codes, anchors, _constant(0), words)
    return [[builder.load(total)] for total in totals]


def _distances(builder: Any, features: str, codes: Any, words: Any, anchors: list[Any]) -> list[list[Any]]:
    totals = _Totals(builder, len(anchors))
    with cgutils.for_range_slice(builder, _constant(0), words, _constant(_WORDS_AT_ONCE)) as (first, _):
        parts = _zeros(builder, _BYTES, len(anchors))
        left = builder.sub(words, first)
        few = builder.icmp_signed("<", left, _constant(_WORDS_AT_ONCE))
        _add_distances(builder, parts, codes, anchors, first, builder.select(few, left, _constant(_WORDS_AT_ONCE)))
        for q, part in enumerate(parts):
            totals.add(q, builder.load(part))
    return [totals.even_and_odd(q) for q in range(len(anchors))]


def _sums(builder: Any, features: str, codes: Any, words: Any, tables: list[Any]) -> list[list[Any]]:
    totals = _Totals(builder, len(tables))
    with cgutils.for_range(builder, builder.mul(words, _constant(8 // _BYTES_AT_ONCE))) as loop:
        parts = [ir.Constant(_BYTES, None) for _ in tables]
        at = _at(builder, codes, loop.index, _BYTES_AT_ONCE * _ROWS)
        places = [_at(builder, table, loop.index, _BYTES_AT_ONCE * 32) for table in tables]
        for byte in range(_BYTES_AT_ONCE):
            row = _load(builder, builder.add(at, _constant(_ROWS * byte)), _BYTES)
            halves = builder.and_(row, ir.Constant(_BYTES, [15] * _ROWS)), builder.lshr(row, _FOUR)
            for q, place in enumerate(places):
                for half, indices in enumerate(halves):
                    table = _load(builder, builder.add(place, _constant(32 * byte + 16 * half)), _TABLE)
                    parts[q] = builder.add(parts[q], _look_up(builder, features, table, indices))
        for q, part in enumerate(parts):
            totals.add(q, part)
    return [totals.even_and_odd(q) for q in range(len(tables))]


def _look_up(builder: Any, features: str, table: Any, indices: Any) -> Any:
    """table [16], indices [64] below 16 -> [64], all of bytes."""
    for feature, (name, lanes) in _SHUFFLES.items():
        if f"+{feature}" in features.split(","):
            wide = _chosen(builder, table, table, [lane % 16 for lane in range(lanes)])
            parts = [
                _call(builder, name, wide, _chosen(builder, indices, indices, list(range(at, at + lanes))))
                for at in range(0, _ROWS, lanes)
            ]
            while len(parts) > 1:
                order = list(range(2 * parts[0].type.count))
                parts = [
                    _chosen(builder, left, right, order) for left, right in zip(parts[::2], parts[1::2], strict=True)
                ]
            return parts[0]
    found = ir.Constant(_BYTES, None)
    for index in range(16):
        here = builder.icmp_unsigned("==", indices, ir.Constant(_BYTES, [index] * _ROWS))
        found = builder.select(here, _chosen(builder, table, table, [index] * _ROWS), found)
    return found


def _mask(builder: Any, numbers: list[Any], operator: str, bound: Any) -> Any:
    """The rows whose number <operator> bound."""
    lane = numbers[0].type.element
    limit = _broadcast(builder, builder.trunc(bound, lane), numbers[0].type.count)
    tests = [builder.icmp_unsigned(operator, part, limit) for part in numbers]
    if len(tests) == 1:
        return builder.bitcast(tests[0], _I64)
    even, odd = (builder.sext(test, _SHORTS) for test in tests)
    even = builder.and_(even, ir.Constant(_SHORTS, [0x00FF] * _PAIRS))
    odd = builder.and_(odd, ir.Constant(_SHORTS, [0xFF00] * _PAIRS))
    both = builder.bitcast(builder.or_(even, odd), _BYTES)
    return builder.bitcast(builder.icmp_signed("<", both, ir.Constant(_BYTES, None)), _I64)


def _scanner(
    anchors: int, count: Callable[..., list[list[Any]]], operator: str, features: str = ""
) -> Callable[..., Any]:
    """A kernel that compares the numbers of `count` with bounds."""

    def scan(typing_context: Any, codes: Any, words: Any, places: Any, bounds: Any, space: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            codes_at, words_, places_, bounds_, space_at = arguments
            available = features or context.codegen().magic_tuple()[2]
            addresses = cgutils.unpack_tuple(builder, places_, anchors)
            limits = cgutils.unpack_tuple(builder, bounds_, anchors)
            found = _constant(0)
            for q, numbers in enumerate(count(builder, available, codes_at, words_, addresses)):
                for part, vector in enumerate(numbers):
                    offset = NUMBERS_AT + _ROWS * (q * len(numbers) + part)
                    _store(builder, vector, builder.add(space_at, _constant(offset)))
                mask = _mask(builder, numbers, operator, limits[q])
                _store(builder, mask, builder.add(space_at, _constant(8 * q)))
                found = builder.or_(found, mask)
            return found

        pointers, numbers = types.UniTuple(types.uint64, anchors), types.UniTuple(types.int64, anchors)
        return types.uint64(types.uint64, types.int64, pointers, numbers, types.uint64), generate

    scan.__name__ = scan.__qualname__ = f"scan_{count.__name__}_{anchors}_{features}"
    return cast(Callable[..., Any], intrinsic(scan))


@inlined
def short_at(space: Scalar, q: int, row: int) -> Scalar:
    """The number (uint16) of a row, of anchor q: those of even rows lie before those of odd ones."""
    return load_u16(space + np.uint64(NUMBERS_AT + 2 * _ROWS * q), ((row & 1) << 5) + (row >> 1))


@inlined
def byte_at(space: Scalar, q: int, row: int) -> Scalar:
    """The number (uint8) of a row, of anchor q."""
    return load_u8(space + np.uint64(NUMBERS_AT + _ROWS * q), row)


near_in_bytes, quad_near_in_bytes = (_scanner(anchors, _distances_in_bytes, "<") for anchors in (1, QUAD))
near, quad_near = (_scanner(anchors, _distances, "<") for anchors in (1, QUAD))
"""(codes, words, anchors, bounds, space) -> rows of the group with a Hamming distance < bound, of any of the anchors.

`anchors` is a tuple of addresses of codes whose every byte is there four times, so that loading one also broadcasts it.
Leaves in `space` a mask (uint64) for each anchor and, from NUMBERS_AT on, 64 distances for each: as bytes, which stop
at 255, with bounds of at most 255, or as uint16 (`short_at`).
"""


def look_ups(tables: int, features: str = "") -> Callable[..., Any]:
    """A kernel of sums for some tables; for this CPU unless features are given ("+avx2,…")."""
    return _scanner(tables, _sums, ">=", features)


reaching, quad_reaching = look_ups(1), look_ups(QUAD)
"""(codes, words, tables, bounds, space) -> rows of the group with a sum >= bound, of any of the tables.

`tables` is a tuple of addresses of [16·W, 16] uint8: what each four bits of a code, from the lowest, bring to the sum.
Leaves in `space` a mask for each and 64 sums for each, as uint16 (`short_at`).
"""
