"""Vector kernels in LLVM IR, for one group of 64 rows: what LLVM's own vectoriser does not make of a loop.

A byte lane holds a number for each of the group's rows (`index.layout`), so on AVX-512 (BITALG) a byte of 64 codes is
met with an anchor's by three instructions: xor, popcount, add. Elsewhere LLVM splits the vectors, and counts bits by
table look-up. A mask of 64 bits comes back (bit i = row i), so rows that fall short cost no branch each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types as _types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

cgutils: Any = _cgutils  # untyped
types: Any = _types

QUAD = 4  # anchors that share the loads of a group's codes
DISTANCES_AT = 64  # where the distances begin, behind the masks, in the space that a kernel leaves its results in

_ROWS = 64
_WORDS_OF_BYTES = 3  # words whose distance fits into a byte
_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_BYTES = ir.VectorType(_I8, _ROWS)
_SHORTS = ir.VectorType(_I16, _ROWS)


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def _broadcast(builder: Any, scalar: Any, lanes: int) -> Any:
    vector = ir.VectorType(scalar.type, lanes)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    order = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), order)


def _call(builder: Any, name: str, *vectors: Any) -> Any:
    kind = vectors[0].type
    function = ir.FunctionType(kind, [kind] * len(vectors))
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), vectors)


def _zeroed(builder: Any, kind: Any) -> Any:
    return cgutils.alloca_once(builder, kind, zfill=True)


def _add_words(builder: Any, totals: list[Any], codes: Any, anchors: list[Any], first: Any, words: Any) -> None:
    """total += Hamming distances of words [first, first + words), in bytes that stop at 255."""
    with cgutils.for_range(builder, words) as loop:
        word = builder.add(first, loop.index)
        at = builder.add(codes, builder.mul(word, _constant(8 * _ROWS)))
        places = [builder.add(anchor, builder.mul(word, _constant(32))) for anchor in anchors]
        for byte in range(8):
            row = _load(builder, builder.add(at, _constant(_ROWS * byte)), _BYTES)
            for total, place in zip(totals, places, strict=True):
                four = _load(builder, builder.add(place, _constant(4 * byte)), _I32)
                wanted = builder.bitcast(_broadcast(builder, four, _ROWS // 4), _BYTES)
                bits = _call(builder, "llvm.ctpop.v64i8", builder.xor(row, wanted))
                builder.store(_call(builder, "llvm.uadd.sat.v64i8", builder.load(total), bits), total)


def _in_bytes(builder: Any, codes: Any, words: Any, anchors: list[Any]) -> list[Any]:
    totals = [_zeroed(builder, _BYTES) for _ in anchors]
    _add_words(builder, totals, codes, anchors, _constant(0), words)
    return [builder.load(total) for total in totals]


def _in_shorts(builder: Any, codes: Any, words: Any, anchors: list[Any]) -> list[Any]:
    totals = [_zeroed(builder, _SHORTS) for _ in anchors]
    with cgutils.for_range_slice(builder, _constant(0), words, _constant(_WORDS_OF_BYTES)) as (first, _):
        parts = [_zeroed(builder, _BYTES) for _ in anchors]
        left = builder.sub(words, first)
        few = builder.icmp_signed("<", left, _constant(_WORDS_OF_BYTES))
        _add_words(builder, parts, codes, anchors, first, builder.select(few, left, _constant(_WORDS_OF_BYTES)))
        for total, part in zip(totals, parts, strict=True):
            builder.store(builder.add(builder.load(total), builder.zext(builder.load(part), _SHORTS)), total)
    return [builder.load(total) for total in totals]


def _near(anchors: int, lane: Any, count: Callable[..., list[Any]]) -> Callable[..., Any]:
    def near(typing_context: Any, codes: Any, words: Any, queries: Any, bounds: Any, space: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            codes_at, words_, queries_, bounds_, space_at = arguments
            places = cgutils.unpack_tuple(builder, queries_, anchors)
            limits = cgutils.unpack_tuple(builder, bounds_, anchors)
            found = _constant(0)
            for k, distances in enumerate(count(builder, codes_at, words_, places)):
                offset = DISTANCES_AT + _ROWS * k * lane.width // 8
                _store(builder, distances, builder.add(space_at, _constant(offset)))
                limit = _broadcast(builder, builder.trunc(limits[k], lane), _ROWS)
                mask = builder.bitcast(builder.icmp_unsigned("<", distances, limit), _I64)
                _store(builder, mask, builder.add(space_at, _constant(8 * k)))
                found = builder.or_(found, mask)
            return found

        pointers, numbers = types.UniTuple(types.uint64, anchors), types.UniTuple(types.int64, anchors)
        return types.uint64(types.uint64, types.int64, pointers, numbers, types.uint64), generate

    near.__name__ = near.__qualname__ = f"near_{anchors}_{lane}"
    return cast(Callable[..., Any], intrinsic(near))


near_in_bytes, near_in_shorts = _near(1, _I8, _in_bytes), _near(1, _I16, _in_shorts)
quad_near_in_bytes, quad_near_in_shorts = _near(QUAD, _I8, _in_bytes), _near(QUAD, _I16, _in_shorts)
"""(codes, words, anchors, bounds, space) -> rows of the group with a Hamming distance < bound, of any of the anchors.

`anchors` is a tuple of addresses of codes whose every byte is there four times, so that loading one also broadcasts it.
Leaves in `space` a mask (uint64) for each anchor and, from DISTANCES_AT on, 64 distances for each. As bytes these stop
at 255, and bounds are at most 255; as uint16 neither has a limit.
"""
