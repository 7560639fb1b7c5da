"""Dot products of stored rows with anchors, in LLVM IR: several at a time, and memory asked for ahead.

Every dot product has one fixed order of float32 operations, alone or in a batch: lane j of 16 sums the products at j,
j + 16, …; then lanes fold 8, 4, 2, 1. One alone would wait for its own additions (four cycles each), so four or sixteen
run through the loop side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types
from numba.core import cgutils as _cgutils
from numba.extending import intrinsic

cgutils: Any = _cgutils  # untyped

SIDE = 4
_LANES = 16
_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))
_F32 = ir.FloatType()
_FLOATS = ir.VectorType(_F32, _LANES)
_CACHE_LINE = 64


def _constant(value: int) -> Any:
    return ir.Constant(_I64, value)


def _load(builder: Any, base: Any, offset: Any, kind: Any, align: int) -> Any:
    value = builder.load(builder.inttoptr(builder.add(base, offset), kind.as_pointer()))
    value.align = align
    return value


class _Element:
    """How a stored number becomes float32."""

    def __init__(self, kind: Any, size: int, widen: str) -> None:
        self.kind, self.size, self._widen = kind, size, widen

    def load(self, builder: Any, base: Any, index: Any, lanes: int) -> Any:
        kind, floats = (self.kind, _F32) if lanes == 1 else (ir.VectorType(self.kind, lanes), _FLOATS)
        value = _load(builder, base, builder.mul(index, _constant(self.size)), kind, self.size)
        return getattr(builder, self._widen)(value, floats) if self._widen else value


_ELEMENTS = (_Element(_I8, 1, "sitofp"), _Element(ir.HalfType(), 2, "fpext"), _Element(_F32, 4, ""))
_ANCHOR = _ELEMENTS[2]


def _sums(builder: Any, element: _Element, rows: list[Any], anchors: list[Any], pairs: list[Any], count: Any) -> Any:
    """Dot products of `pairs` (index of a row's address, index of an anchor's): a <4 x float> for every four."""

    def add(index: Any, lanes: int, targets: list[Any]) -> None:
        stored = [element.load(builder, row, index, lanes) for row in rows]
        wanted = [_ANCHOR.load(builder, anchor, index, lanes) for anchor in anchors]
        for target, (row, anchor) in zip(targets, pairs, strict=True):
            product = builder.fmul(stored[row], wanted[anchor])
            builder.store(builder.fadd(builder.load(target), product), target)

    totals = [cgutils.alloca_once(builder, _FLOATS) for _ in pairs]
    rests = [cgutils.alloca_once(builder, _FLOATS) for _ in pairs]  # apart, so that totals stay in registers
    for total in totals:
        builder.store(ir.Constant(_FLOATS, [0.0] * _LANES), total)
    blocks = builder.udiv(count, _constant(_LANES))
    done = builder.mul(blocks, _constant(_LANES))
    with cgutils.for_range(builder, blocks) as loop:
        add(builder.mul(loop.index, _constant(_LANES)), _LANES, totals)
    with builder.if_else(builder.icmp_unsigned("==", done, count)) as (whole, ragged):
        with whole:
            vectors = _folded(builder, totals)
            end_whole = builder.block
        with ragged:
            for total, rest in zip(totals, rests, strict=True):
                builder.store(builder.load(total), rest)
            with cgutils.for_range(builder, builder.sub(count, done)) as loop:
                lanes = [builder.gep(builder.bitcast(rest, _F32.as_pointer()), [loop.index]) for rest in rests]
                add(builder.add(done, loop.index), 1, lanes)
            others = _folded(builder, rests)
            end_ragged = builder.block
    merged = []
    for vector, other in zip(vectors, others, strict=True):
        phi = builder.phi(vector.type)
        phi.add_incoming(vector, end_whole)
        phi.add_incoming(other, end_ragged)
        merged.append(phi)
    return merged


def _folded(builder: Any, slots: list[Any]) -> list[Any]:
    vectors = [builder.load(slot) for slot in slots]
    return [_fold(builder, vectors[k : k + SIDE]) for k in range(0, len(vectors), SIDE)]


def _fold(builder: Any, vectors: list[Any]) -> Any:
    """Four <16 x float> -> <4 x float>: the lanes of each fold 8, 4, 2, 1."""
    vectors = [_halves(builder, vector, vector, 8, 1) for vector in vectors]
    left, right = (_halves(builder, vectors[k], vectors[k + 1], 4, 2) for k in (0, 2))
    both = _halves(builder, left, right, 2, 4)
    return _halves(builder, both, both, 1, 4)


def _halves(builder: Any, left: Any, right: Any, width: int, parts: int) -> Any:
    """Lower plus upper halves, `width` lanes each, of the `parts` that lie behind one another in left and right."""
    lower = [2 * width * part + lane for part in range(parts) for lane in range(width)]
    kind = ir.VectorType(_I32, len(lower))
    orders = ([lane + offset for lane in lower] for offset in (0, width))
    low, high = (builder.shuffle_vector(left, right, ir.Constant(kind, order)) for order in orders)
    return builder.fadd(low, high)


def _dots(element: _Element, name: str, pairs: list[tuple[int, int]]) -> Callable[..., None]:
    def dots(typing_context: Any, rows: Any, anchors: Any, dimension: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows_at, anchors_at, count, out_at = arguments
            stored, wanted = (
                [_load(builder, base, _constant(8 * k), _I64, 8) for k in range(SIDE)] for base in (rows_at, anchors_at)
            )
            for k, sums in enumerate(_sums(builder, element, stored, wanted, pairs, count)):
                target = builder.add(out_at, _constant(4 * SIDE * k))
                builder.store(sums, builder.inttoptr(target, sums.type.as_pointer())).align = 4
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64, types.int64, types.uint64), generate

    dots.__name__ = dots.__qualname__ = f"{name}_{element.kind}"
    return cast(Callable[..., None], intrinsic(dots))


def _prefetch(typing_context: Any, address: Any, size: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        read, keep, data = (ir.Constant(_I32, value) for value in (0, 3, 1))
        lines = builder.udiv(builder.add(arguments[1], _constant(_CACHE_LINE - 1)), _constant(_CACHE_LINE))
        with cgutils.for_range(builder, lines) as loop:
            at = builder.add(arguments[0], builder.mul(loop.index, _constant(_CACHE_LINE)))
            builder.call(function, [builder.inttoptr(at, _I8.as_pointer()), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64), generate


prefetch = cast(Callable[..., None], intrinsic(_prefetch))
"""(address, bytes): asks for the cache lines; no fault, whatever the address."""

# Each takes (rows, anchors, dimension, out): the addresses of four addresses of stored rows, of four addresses of
# float32 anchors, the elements of each, and the address of the float32 sums.
_PAIRS = [(k, k) for k in range(SIDE)]
pair_dots_int8, pair_dots_float16, pair_dots_float32 = (_dots(kind, "pair_dots", _PAIRS) for kind in _ELEMENTS)
"""Row k with anchor k -> sums [4]."""

_TILE = [(row, anchor) for anchor in range(SIDE) for row in range(SIDE)]
tile_dots_int8, tile_dots_float16, tile_dots_float32 = (_dots(kind, "tile_dots", _TILE) for kind in _ELEMENTS)
"""Every row with every anchor -> sums [anchor, row]."""
