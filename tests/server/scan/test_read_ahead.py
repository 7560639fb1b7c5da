"""What is asked for on a real disk comes into memory before it is touched."""

from __future__ import annotations

import ctypes
import mmap
import select
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from negmine_server.scan.read_ahead import ask_for
from negmine_server.storage.scratch import arrays_on_disk
from numpy.typing import NDArray

MIB = 1 << 20
MS_SYNC, MADV_PAGEOUT = 4, 21


def evict(array: NDArray[Any]) -> None:
    libc, address, size = ctypes.CDLL(None), ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    assert libc.msync(address, size, MS_SYNC) == 0
    assert libc.madvise(address, size, MADV_PAGEOUT) == 0


def resident(array: NDArray[Any]) -> NDArray[np.bool_]:
    """Of each memory page."""
    found = ctypes.create_string_buffer(-(-array.nbytes // mmap.PAGESIZE))
    address, size = ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes)
    assert ctypes.CDLL(None).mincore(address, size, found) == 0
    return np.frombuffer(found.raw, np.uint8) & 1 == 1


@pytest.mark.parametrize("size", [3, 1024, 10_000])
def test_what_is_asked_for_is_read_ahead_of_its_use(tmp_path: Path, size: int) -> None:
    array = arrays_on_disk(tmp_path)((16, MIB // 16), np.uint8)
    array[...] = 7
    evict(array)
    if resident(array).any():
        pytest.skip("the file system keeps what it is told to let go of")
    places = np.random.default_rng(0).integers(0, MIB - size, 20)
    ask_for(np.uint64(array.ctypes.data) + places.astype(np.uint64), size)
    wanted = np.unique(np.concatenate([np.arange(at, at + size) // mmap.PAGESIZE for at in places]))
    deadline = time.monotonic() + 30
    while not resident(array)[wanted].all():  # the disk answers when it will
        assert time.monotonic() < deadline
        select.select([], [], [], 0.001)
    assert (array == 7).all()


def test_nothing_to_ask_for() -> None:
    ask_for(np.empty(0, np.uint64), 100)
