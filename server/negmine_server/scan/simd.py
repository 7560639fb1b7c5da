"""Vector kernels in LLVM IR, for one group of 64 rows: what LLVM's own vectoriser does not make of a loop.

Eight accumulators of eight 64-bit lanes hold one number for each of the group's rows. On AVX-512 (VPOPCNTDQ) every
operation is one instruction; elsewhere LLVM splits the vectors. A mask of 64 bits comes back (bit i = row i), so rows
that fall short cost no store, no reduction and no branch each.

The layout of a group is [W, 64] uint64 (`index.pages`): word w of row i at offset (64·w + i) words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

cgutils: Any = _cgutils  # untyped

_I1, _I8, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
_F32 = ir.FloatType()
_LANES = 8
_VECTORS = 8
_WORDS = ir.VectorType(_I64, _LANES)
_INTS = ir.VectorType(_I32, _LANES)
_FLOATS = ir.VectorType(_F32, _LANES)


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _broadcast(builder: Any, scalar: Any, vector: Any) -> Any:
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(_I32, 0))
    lanes = ir.Constant(ir.VectorType(_I32, vector.count), [0] * vector.count)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), lanes)


def _load(builder: Any, address: Any, kind: Any, align: int) -> Any:
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = align
    return value


def _store(builder: Any, value: Any, address: Any, align: int) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = align


def _count_bits(builder: Any, vector: Any) -> Any:
    kind = ir.FunctionType(_WORDS, [_WORDS])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.ctpop.v8i64"), [vector])


def _at(builder: Any, base: Any, *steps: Any) -> Any:
    for step in steps:
        base = builder.add(base, step)
    return base


def _accumulators(builder: Any, start: Any) -> list[Any]:
    slots = [cgutils.alloca_once(builder, _WORDS) for _ in range(_VECTORS)]
    for slot in slots:
        builder.store(start, slot)
    return slots


def _collect(builder: Any, bits: list[Any]) -> Any:
    """Eight <8 x i1> as one 64-bit mask."""
    mask = _constant(0)
    for k, part in enumerate(bits):
        byte = builder.zext(builder.bitcast(part, _I8), _I64)
        mask = builder.or_(mask, builder.shl(byte, _constant(8 * k)))
    return mask


def _add_words(builder: Any, slots: list[Any], operation: str, codes: Any, query: Any, words: Any) -> None:
    """accumulator += popcount(code word <operation> query word), over all words."""
    with cgutils.for_range(builder, words) as loop:
        word = _load(builder, _at(builder, query, builder.mul(loop.index, _constant(8))), _I64, 8)
        wanted = _broadcast(builder, word, _WORDS)
        start = _at(builder, codes, builder.mul(loop.index, _constant(512)))
        for k, slot in enumerate(slots):
            row = _load(builder, _at(builder, start, _constant(64 * k)), _WORDS, 8)
            bits = builder.xor(row, wanted) if operation == "xor" else builder.and_(row, wanted)
            builder.store(builder.add(builder.load(slot), _count_bits(builder, bits)), slot)


def _near(typing_context: Any, codes: Any, words: Any, query: Any, limit: Any, distances: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes_at, count, query_at, highest, distances_at = arguments
        slots = _accumulators(builder, ir.Constant(_WORDS, [0] * _LANES))
        _add_words(builder, slots, "xor", codes_at, query_at, count)
        limits = _broadcast(builder, highest, _WORDS)
        bits = []
        for k, slot in enumerate(slots):
            distance = builder.load(slot)
            _store(builder, distance, _at(builder, distances_at, _constant(64 * k)), 8)
            bits.append(builder.icmp_signed("<=", distance, limits))
        return _collect(builder, bits)

    return types.uint64(types.uint64, types.int64, types.uint64, types.int64, types.uint64), generate


def _weighted(
    typing_context: Any,
    codes: Any,
    words: Any,
    planes: Any,
    plane_count: Any,
    total: Any,
    corrections: Any,
    scale: Any,
    floor: Any,
    scores: Any,
) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        codes_at, count, planes_at, plane_count_, total_, corrections_at, scale_, floor_, scores_at = arguments
        slots = _accumulators(builder, ir.Constant(_WORDS, [0] * _LANES))
        _add_words(builder, slots, "and", codes_at, planes_at, count)
        for slot in slots:  # the sign plane weighs negative
            builder.store(builder.neg(builder.load(slot)), slot)
        one = ir.Constant(_WORDS, [1] * _LANES)
        stride = builder.mul(count, _constant(8))
        with cgutils.for_range(builder, builder.sub(plane_count_, _constant(1))) as loop:
            for slot in slots:
                builder.store(builder.shl(builder.load(slot), one), slot)
            plane = builder.mul(builder.add(loop.index, _constant(1)), stride)
            _add_words(builder, slots, "and", codes_at, _at(builder, planes_at, plane), count)
        totals = _broadcast(builder, total_, _WORDS)
        scales, floors = _broadcast(builder, scale_, _FLOATS), _broadcast(builder, floor_, _FLOATS)
        bits = []
        for k, slot in enumerate(slots):
            dot = builder.sub(builder.shl(builder.load(slot), one), totals)
            factor = _load(builder, _at(builder, corrections_at, _constant(4 * _LANES * k)), _FLOATS, 4)
            score = builder.sitofp(builder.trunc(dot, _INTS), _FLOATS)
            score = builder.fmul(builder.fmul(score, factor), scales)
            _store(builder, score, _at(builder, scores_at, _constant(4 * _LANES * k)), 4)
            bits.append(builder.fcmp_ordered(">=", score, floors))
        return _collect(builder, bits)

    signature = types.uint64(
        types.uint64,
        types.int64,
        types.uint64,
        types.int64,
        types.int64,
        types.uint64,
        types.float32,
        types.float32,
        types.uint64,
    )
    return signature, generate


near_mask = cast(Callable[..., Any], intrinsic(_near))
"""(codes, words, query, limit, distances) -> rows of the group with Hamming distance <= limit.

Leaves all 64 distances (int64) at `distances`."""

weighted_mask = cast(Callable[..., Any], intrinsic(_weighted))
"""(codes, words, planes, plane count, sum of values, corrections, scale, floor, scores) -> rows with score >= floor.

`planes` is [plane count, W]: the query's values in two's complement, sign plane first. The integer dot product is
2·Σ value·bit - Σ value. Leaves all 64 scores (float32) at `scores`.
"""
