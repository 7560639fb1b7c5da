"""Arrays in scratch files: real mappings, real pressure, real full disks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from negmine_server.domain import Batch, VectorStore
from negmine_server.errors import StorageFailed, StorageFull
from negmine_server.index.rows import Rows
from negmine_server.storage.objects import LocalObjects
from negmine_server.storage.scratch import arrays_on_disk, on_disk

MIB = 1 << 20
DIMENSION = 64


def free_bytes(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bfree * found.f_bsize


def mappings(folder: Path) -> list[str]:
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if str(folder) in line]


@pytest.mark.parametrize("dtype", [np.int8, np.float16, np.float32])
@pytest.mark.parametrize("shape", [(1, 1), (128, 37), (0, 5), (1000,)])
def test_as_numpy_zeros(tmp_path: Path, dtype: type, shape: tuple[int, ...]) -> None:
    array = arrays_on_disk(tmp_path)(shape, dtype)
    assert (array.shape, array.dtype, array.any()) == (shape, dtype, False)
    assert array.flags.c_contiguous
    array[...] = 3
    assert (array == 3).all()
    assert not list(tmp_path.iterdir())


def test_a_mapping_lives_as_long_as_an_array_and_holds_no_descriptor(tmp_path: Path) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    arrays = [arrays_on_disk(tmp_path)((1000, 8), np.float32) for _ in range(20)]
    assert (len(mappings(tmp_path)), len(list(Path("/proc/self/fd").iterdir()))) == (20, descriptors)
    part = arrays[7][5:6].T
    part[...] = 9
    arrays.clear()
    assert len(mappings(tmp_path)) == 1
    assert (part == 9).all()
    del part
    assert not mappings(tmp_path)


def test_room_is_taken_at_once_and_given_back(small_disk: Path) -> None:
    allocate, before = arrays_on_disk(small_disk), free_bytes(small_disk)
    array = allocate((3, MIB), np.int8)
    assert before - free_bytes(small_disk) == 3 * MIB
    with pytest.raises(StorageFull, match="no room"):
        allocate((2, MIB), np.int8)
    assert before - free_bytes(small_disk) == 3 * MIB
    array[...] = 1
    del array
    assert free_bytes(small_disk) == before


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="nowhere"):
        arrays_on_disk(tmp_path / "nowhere")((4, 4), np.int8)


def test_only_its_own_arrays_are_on_disk(tmp_path: Path) -> None:
    array = arrays_on_disk(tmp_path)((9, 5), np.float16)
    assert on_disk(array)
    assert not on_disk(np.zeros((9, 5)))
    assert not on_disk(np.zeros((9, 5))[1:].T)


# In a process of its own: the numbers are of the whole process.
EVICTED = """
import ctypes, sys
from pathlib import Path
import numpy as np
from negmine_server.storage.scratch import arrays_on_disk

def resident(kind):
    return next(int(x.split()[1]) << 10 for x in Path("/proc/self/status").read_text().splitlines() if kind in x)

array = arrays_on_disk(Path(sys.argv[1]))((64 << 10, 1024), np.int8)
anonymous, of_files = resident("RssAnon"), resident("RssFile")
for start in range(0, array.shape[0], 1024):
    array[start : start + 1024] = np.arange(start, start + 1024)[:, None] % 113
print(resident("RssAnon") - anonymous, resident("RssFile") - of_files)
libc, address = ctypes.CDLL(None, use_errno=True), ctypes.c_void_p(array.ctypes.data)
MS_SYNC, MADV_PAGEOUT = 4, 21
assert libc.msync(address, ctypes.c_size_t(array.nbytes), MS_SYNC) == 0
assert libc.madvise(address, ctypes.c_size_t(array.nbytes), MADV_PAGEOUT) == 0
print(0, resident("RssFile") - of_files)
assert (array[:, 5] == np.arange(array.shape[0]) % 113).all()
"""


def test_the_kernel_may_take_the_memory_back_and_nothing_is_lost(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", EVICTED, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (anonymous, filled), (_, evicted) = (map(int, line.split()) for line in done.stdout.splitlines())
    assert anonymous < 8 * MIB  # none of it must stay for want of swap
    assert filled >= 60 * MIB
    assert evicted < 8 * MIB


def batch(first: int, n: int) -> Batch:
    ids = np.arange(first, first + n)
    vectors = np.repeat((ids % 113).astype(np.int8)[:, None], DIMENSION, axis=1)
    return Batch(ids=ids, versions=np.zeros(n, np.int64), codes=np.zeros((n, 1), np.uint64), vectors=vectors)


def test_rows_without_room_for_vectors_stay_as_they_were(small_disk: Path) -> None:
    page_rows = 16_384  # 1 MiB of vectors
    rows = Rows(1, VectorStore.INT8, DIMENSION, page_rows=page_rows, allocate_vectors=arrays_on_disk(small_disk))
    rows.apply(batch(0, 2 * page_rows))
    before = rows.view
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (free_bytes(small_disk) - MIB // 2))
    for _ in range(3):
        with pytest.raises(StorageFull):
            rows.apply(batch(page_rows, 3 * page_rows))
        assert rows.view is before
        assert (rows.locate(np.arange(2 * page_rows, 4 * page_rows)).rows == -1).all()
    ballast.unlink()
    outcome = rows.apply(batch(page_rows, 2 * page_rows))
    assert (outcome.inserted, outcome.overwritten) == (page_rows, page_rows)
    assert (rows.locate(np.arange(3 * page_rows)).rows >= 0).all()


def test_a_page_that_is_let_go_of_gives_its_room_back(small_disk: Path) -> None:
    before = free_bytes(small_disk)
    rows = Rows(1, VectorStore.INT8, DIMENSION, page_rows=16_384, allocate_vectors=arrays_on_disk(small_disk))
    rows.apply(batch(0, 1000))
    held = rows.view
    del rows
    assert before - free_bytes(small_disk) == MIB
    assert held.pages[0] is not None
    del held
    assert free_bytes(small_disk) == before


def test_what_a_crash_left_is_removed_at_the_next_start(tmp_path: Path) -> None:
    """Where a file system knows no nameless files, one has a name for an instant."""
    code = "import sys, os; from pathlib import Path; from negmine_server.storage.objects import LocalObjects; "
    code += "(LocalObjects(Path(sys.argv[1])).scratch / 'left').write_bytes(b'x'); os._exit(1)"
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == 1
    assert [path.name for path in tmp_path.rglob("left")] == ["left"]
    objects = LocalObjects(tmp_path)
    assert objects.scratch.is_dir()
    assert not list(tmp_path.rglob("left"))
