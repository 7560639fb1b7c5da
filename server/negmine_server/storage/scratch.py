"""Arrays in scratch files, so that the kernel can write them out under memory pressure instead of ending the process.

A file has no name from the start, so a crash leaves nothing; it goes with the last array that looks at it. Nothing is
flushed or read back: what is durable is the log. A mapping holds no descriptor (those of `mmap.mmap` do, and a large
index would run out of them).
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.storage.objects import storage_error

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_longlong]
_LIBC.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_LIBC.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_FAILED = ctypes.c_void_p(-1).value


def arrays_on_disk(folder: Path) -> Callable[[tuple[int, ...], Any], NDArray[Any]]:
    """What `numpy.zeros` is to memory, for files under `folder`: (shape, dtype) -> array. Thread-safe.

    All room is taken at once: a store into a page of a full disk would end the process (SIGBUS). The call raises
    StorageFull without room, StorageFailed if a file cannot be made.
    """

    def allocate(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not size:
            return np.zeros(shape, dtype)
        try:
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, size)
                mapping = _Mapping(file.fileno(), size)
        except OSError as error:
            raise storage_error(error, folder) from error
        return np.ndarray(shape, dtype, np.asarray(mapping))

    return allocate


def on_disk(array: NDArray[Any]) -> bool:
    """Whether `arrays_on_disk` made it."""
    return array.base is not None and isinstance(getattr(array.base, "base", None), _Mapping)


class _Mapping:
    """The bytes of a file as numpy takes them; lives as long as an array does."""

    def __init__(self, descriptor: int, size: int) -> None:
        address = _LIBC.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, descriptor, 0)
        if address == _FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        # Gathers touch scattered rows: what lies around one is not worth reading. Advice only, so no error matters.
        _LIBC.madvise(address, size, mmap.MADV_RANDOM)
        self.__array_interface__ = {"shape": (size,), "typestr": "|u1", "data": (address, False), "version": 3}
        # Not at exit: a thread may still read it then.
        weakref.finalize(self, _LIBC.munmap, address, size).atexit = False
