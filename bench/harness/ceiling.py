"""What the machine could do at most, measured: popcounts on data in the L1 cache, and reading memory once.

A pair of b-bit codes takes b / 512 steps of xor, popcount and add on vectors of 512 bits. The kernel here does nothing
else: no scores, no top-r, no rows behind the cache.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

VECTOR_BYTES = 64
L1_BYTES = 16 << 10
QUERIES = 4  # each holds a vector of its code in a register and shares the loads with the others
UNROLLED = 4
SWEEPS = 15_000
STREAM_BYTES = 1 << 30
_I64 = ir.IntType(64)


def threads() -> int:
    """Cores that the benchmark may use."""
    return len(os.sched_getaffinity(0))


def simd() -> dict[str, bool]:
    """The processor's vector instructions that count here."""
    features = binding.get_host_cpu_features()
    return {
        "vpopcnt_64": bool(features.get("avx512vpopcntdq")),
        "vpopcnt_8": bool(features.get("avx512bitalg")),
        "avx512": bool(features.get("avx512f")),
        "avx2": bool(features.get("avx2")),
    }


def _pointer(builder: Any, address: Any, offset: Any, kind: Any) -> Any:
    return builder.inttoptr(builder.add(address, offset), kind.as_pointer())


def _count_step(lane_bits: int) -> Any:
    """(codes, queries, vectors, out): xor, popcount and add of every vector with each query; the sums go to `out`."""
    lanes = 8 * VECTOR_BYTES // lane_bits
    kind = ir.VectorType(ir.IntType(lane_bits), lanes)

    def step(typing_context: Any, codes: Any, queries: Any, vectors: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            codes_at, queries_at, count, out_at = arguments
            popcount = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(kind, [kind]), f"llvm.ctpop.v{lanes}i{lane_bits}"
            )

            def load(address: Any, offset: Any) -> Any:
                value = builder.load(_pointer(builder, address, offset, kind))
                value.align = VECTOR_BYTES
                return value

            held = [load(queries_at, ir.Constant(_I64, VECTOR_BYTES * q)) for q in range(QUERIES)]
            sums = [cgutils.alloca_once(builder, kind) for _ in range(QUERIES * UNROLLED)]
            for slot in sums:
                builder.store(ir.Constant(kind, [0] * lanes), slot)
            with cgutils.for_range(builder, builder.udiv(count, ir.Constant(_I64, UNROLLED))) as loop:
                base = builder.mul(loop.index, ir.Constant(_I64, VECTOR_BYTES * UNROLLED))
                for u in range(UNROLLED):
                    code = load(codes_at, builder.add(base, ir.Constant(_I64, VECTOR_BYTES * u)))
                    for q, query in enumerate(held):
                        slot = sums[u * QUERIES + q]
                        ones = builder.call(popcount, [builder.xor(code, query)])
                        builder.store(builder.add(builder.load(slot), ones), slot)
            for number, slot in enumerate(sums):
                offset = ir.Constant(_I64, VECTOR_BYTES * number)
                builder.store(builder.load(slot), _pointer(builder, out_at, offset, kind)).align = VECTOR_BYTES
            return context.get_dummy_value()

        return types.void(types.uint64, types.uint64, types.int64, types.uint64), generate

    step.__name__ = step.__qualname__ = f"count_step_{lane_bits}"
    return intrinsic(step)


@cache
def _sweeper(lane_bits: int) -> Callable[..., None]:
    step = _count_step(lane_bits)

    @numba.njit(nogil=True)
    def sweep(codes_at: Any, queries_at: Any, vectors: int, out_at: Any, sweeps: int) -> None:
        for _ in range(sweeps):
            step(codes_at, queries_at, vectors, out_at)

    return sweep


@numba.njit(nogil=True)
def _read(words: NDArray[np.uint64]) -> int:
    """The sum of all words; LLVM makes vectors of it."""
    total = np.uint64(0)
    for i in range(words.shape[0]):
        total += words[i]
    return total


class Ceiling:
    """Measures again at every call, so that it can alternate with what is compared to it. As a context manager."""

    def __init__(self, stream_bytes: int = STREAM_BYTES) -> None:
        self._cores = threads()
        self._pool = ThreadPoolExecutor(self._cores)
        self._stream = np.arange(stream_bytes // 8, dtype=np.uint64)
        random = np.random.default_rng(0)
        self._spaces = [_aligned(random, L1_BYTES + VECTOR_BYTES * QUERIES * (1 + UNROLLED)) for _ in self._each]
        self._lane_bits = min((8, 64), key=self._vector_ns)

    def __enter__(self) -> Ceiling:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    @property
    def _each(self) -> range:
        return range(self._cores)

    @property
    def kind(self) -> str:
        """Which popcount was fastest: of bytes or of 64-bit words."""
        return f"xor, popcount of {self._lane_bits}-bit lanes, add"

    def pair_ns(self, bits: int) -> float:
        """Nanoseconds a pair of codes of `bits` bits, all cores together."""
        return self._vector_ns(self._lane_bits) * bits / (8 * VECTOR_BYTES)

    def read_gb_s(self) -> float:
        """Bytes read from memory, 1e9 a second, all cores together."""
        parts = np.array_split(self._stream, self._cores)
        _read(self._stream[:8])
        begin = time.perf_counter()
        total = sum(int(part) for part in self._pool.map(_read, parts))
        seconds = time.perf_counter() - begin
        n = len(self._stream)
        assert total % 2**64 == n * (n - 1) // 2 % 2**64, "the stream was not read"
        return self._stream.nbytes / seconds / 1e9

    def _vector_ns(self, lane_bits: int) -> float:
        """Nanoseconds of one step of one query, all cores together."""
        vectors = L1_BYTES // VECTOR_BYTES
        sweep = _sweeper(lane_bits)

        def work(core: int) -> None:
            at = self._spaces[core].ctypes.data
            queries, out = at + L1_BYTES, at + L1_BYTES + VECTOR_BYTES * QUERIES
            sweep(np.uint64(at), np.uint64(queries), vectors, np.uint64(out), SWEEPS)

        sweep(*[np.uint64(self._spaces[0].ctypes.data)] * 2, 0, np.uint64(self._spaces[0].ctypes.data), 0)
        begin = time.perf_counter()
        list(self._pool.map(work, self._each))
        return (time.perf_counter() - begin) * 1e9 / (SWEEPS * vectors * QUERIES * self._cores)


def _aligned(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Random bytes [size] at an address that is a multiple of a vector's size."""
    space = random.integers(0, 256, size + VECTOR_BYTES, np.uint8)
    first = -space.ctypes.data % VECTOR_BYTES
    return space[first : first + size]
