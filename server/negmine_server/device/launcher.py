"""Launches kernels on a device: through the driver, whose interface stays as it is from one CUDA to the next."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from cuda.bindings import driver

from negmine_server.device.compiler import compile_cubin
from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed

# What Triton compiles takes two addresses of scratch memory besides, none of which our kernels need. The driver reads
# as many arguments as a kernel has.
ARGUMENT_TYPES = (ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class DriverError(RuntimeError):
    """A call of the driver failed. The text begins as torch's does for the same cause."""


class NvrtcLauncher:
    """`Launcher` of one CUDA device, in the context that torch uses. Launches may be captured into CUDA graphs.

    Args:
        torch_device: a CUDA device with an index.
    """

    def __init__(self, torch_device: torch.device) -> None:
        self._index = torch_device.index
        properties = torch.cuda.get_device_properties(torch_device)
        self._architecture = f"sm_{properties.major}{properties.minor}"
        self._lock = threading.Lock()
        self._modules: dict[tuple[Path, tuple[tuple[str, int], ...]], driver.CUmodule] = {}
        self._functions: dict[Kernel, driver.CUfunction] = {}
        self._of_thread = threading.local()
        # torch's context: the device's primary one. It is kept for the life of the process.
        (device,) = _called(driver.cuDeviceGet, self._index)
        (self._context,) = _called(driver.cuDevicePrimaryCtxRetain, device)

    def prepare(self, kernels: Sequence[Kernel]) -> None:
        try:
            for kernel in kernels:
                self._function(kernel)
        except DriverError as error:
            raise DeviceFailed(f"the kernels cannot be loaded: {error}") from error

    def launch(self, kernel: Kernel, blocks: tuple[int, int], argument: int, number: int) -> None:
        function = self._function(kernel)
        stream = torch.cuda.current_stream(self._index).cuda_stream
        values = ((argument, number, 0, 0), ARGUMENT_TYPES)
        shape = (*blocks, 1, kernel.threads, 1, 1)
        _called(driver.cuLaunchKernel, function, *shape, kernel.shared_bytes, stream, values, 0)

    def _function(self, kernel: Kernel) -> driver.CUfunction:
        self._enter()
        if (function := self._functions.get(kernel)) is not None:
            return function
        with self._lock:
            place = (kernel.source, kernel.macros)
            if place not in self._modules:
                (self._modules[place],) = _called(driver.cuModuleLoadData, compile_cubin(kernel, self._architecture))
            (function,) = _called(driver.cuModuleGetFunction, self._modules[place], kernel.name.encode())
            self._allow_shared(kernel, function)
            self._functions[kernel] = function
            return function

    def _allow_shared(self, kernel: Kernel, function: driver.CUfunction) -> None:
        """Dynamic shared memory beyond 48 KiB has to be asked for: as much as any launch of the function takes."""
        bare = replace(kernel, threads=0, shared_bytes=0)
        same = [other for other in self._functions if replace(other, threads=0, shared_bytes=0) == bare]
        most = max(other.shared_bytes for other in [kernel, *same])
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        _called(driver.cuFuncSetAttribute, function, attribute, most)

    def _enter(self) -> None:
        """A thread's first call finds no context where torch has not worked in it before."""
        if not getattr(self._of_thread, "entered", False):
            _called(driver.cuCtxSetCurrent, self._context)
            self._of_thread.entered = True


def _called(function: Callable[..., tuple[Any, ...]], *arguments: object) -> tuple[Any, ...]:
    error, *results = function(*arguments)
    if error != driver.CUresult.CUDA_SUCCESS:
        name, text = driver.cuGetErrorName(error)[1], driver.cuGetErrorString(error)[1]
        raise DriverError(f"CUDA error: {function.__name__}: {text.decode()} ({name.decode()})")
    return tuple(results)
