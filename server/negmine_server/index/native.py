"""What the compiled kernels share: one way to compile, and loads and stores by address.

Kernels see the pages of a view through a directory of base addresses (`pages.View`), so one compiled call scans every
page, and a column that a page lacks is the address 0.

Integers in kernels: numba turns `uint64 op int64` into a float. Addresses, hashes and codes are uint64, positions and
counts int64, and every constant that meets a uint64 is itself one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

# A machine number inside a kernel (float32, uint64, …): numba infers its type from the call, Python has no name for it.
Scalar = Any

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=NDArray[Any])


_jit: Any = numba.njit
_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": False, "error_model": "numpy"}


def compiled(function: F) -> F:
    """Compiles for this CPU without holding the GIL, cached on disk. IEEE arithmetic: no reordering, no contraction."""
    return cast(F, _jit(**_OPTIONS)(function))


def kernel(function: F) -> F:
    """As `compiled`, for functions that allocate nothing: arrays passed on are not reference-counted (atomically)."""
    return cast(F, _jit(**_OPTIONS, _nrt=False)(function))


def inlined(function: F) -> F:
    """As `kernel`, and merged into its caller by LLVM."""
    return cast(F, _jit(**_OPTIONS, _nrt=False, forceinline=True)(function))


def as_compiled(array: A) -> A:
    """C-contiguous and writable, as kernels are compiled for; another kind (a view of received bytes) is copied."""
    return np.require(array, requirements="CW")


def _loader(kind: Any, name: str) -> Callable[[Any, Any], Any]:
    def load(typing_context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], context.get_data_type(kind).as_pointer())
            return builder.load(builder.gep(pointer, [arguments[1]]))

        return kind(types.uint64, types.int64), generate

    load.__name__ = load.__qualname__ = name
    return cast(Callable[[Any, Any], Any], intrinsic(load))


def _storer(kind: Any, name: str) -> Callable[[Any, Any, Any], None]:
    def store(typing_context: Any, address: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], context.get_data_type(kind).as_pointer())
            builder.store(arguments[2], builder.gep(pointer, [arguments[1]]))
            return context.get_dummy_value()

        return types.void(types.uint64, types.int64, kind), generate

    store.__name__ = store.__qualname__ = name
    return cast(Callable[[Any, Any, Any], None], intrinsic(store))


def _unary(operation: str, name: str) -> Callable[[Any], Any]:
    """A uint64 -> int64 bit operation; `cttz` is never asked about zero."""

    def apply(typing_context: Any, word: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            if operation == "cttz":
                return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
            return builder.ctpop(arguments[0])

        return types.int64(types.uint64), generate

    apply.__name__ = apply.__qualname__ = name
    return cast(Callable[[Any], Any], intrinsic(apply))


def _prefetch(typing_context: Any, address: Any, offset: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(builder.add(*arguments), ir.IntType(8).as_pointer())
        flag = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, flag, flag, flag])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(function, [pointer, flag(0), flag(3), flag(1)])  # to read, into every cache, data
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64), generate


load_i64 = _loader(types.int64, "load_i64")
load_u64 = _loader(types.uint64, "load_u64")
load_u32 = _loader(types.uint32, "load_u32")
load_i16 = _loader(types.int16, "load_i16")
load_u16 = _loader(types.uint16, "load_u16")
load_u8 = _loader(types.uint8, "load_u8")
load_f32 = _loader(types.float32, "load_f32")
store_u32 = _storer(types.uint32, "store_u32")
store_u64 = _storer(types.uint64, "store_u64")
store_u8 = _storer(types.uint8, "store_u8")
popcount = _unary("ctpop", "popcount")
trailing_zeros = _unary("cttz", "trailing_zeros")
prefetch = cast(Callable[[Any, Any], None], intrinsic(_prefetch))
