"""Runs CUDA kernels on the CPU: g++ compiles the very same source, and every thread of a block is a fiber.

In a test::

    import pytest
    from cuda_emulator.emulated import EmulatedLauncher, without_compiler
    from negmine_server.device.program import Kernel

    pytestmark = without_compiler        # skips the module where there is no g++

    launcher = EmulatedLauncher()        # or EmulatedLauncher(seed=7): blocks, threads and atomics in another order
    kernel = Kernel(FOLDER / "offer.cu", "offer", threads=256, shared_bytes=4096, macros=(("WORDS", 4),))
    launcher.launch(kernel, (blocks, 1), argument=address_of_search, number=round)

Addresses are of host memory (torch CPU tensors' `data_ptr()`, numpy's `.ctypes.data`); a launch has ended when it
returns. What kernels may say is in `emulator.hpp` and `instructions.hpp`; what is missing there is added there and, if
it is no word of CUDA, to `machine.cuh`.

Reported as `EmulationError`: divergent barriers and warp instructions (a lane ended or waits elsewhere), shuffles from
lanes outside the mask, indices outside an array, misaligned addresses, shifts too far, writes behind the dynamic shared
memory, and touching memory that is not there. Not reported, but seen in the results: shared memory is garbage when a
block starts, and what `copy_16` will write is garbage until `wait_copies`, so a missing wait or barrier shows in
wrong numbers; with a seed threads run in another order and change over at atomics. Reads and writes a little beyond a
tensor go unseen: put rows that nobody may touch around it where it matters.

To step through a kernel: `NEGMINE_EMULATOR_FLAGS="-O0 -g"` compiles it so (gdb --args python -m pytest …).
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from threading import Lock

import negmine_server.scan.cuda
import pytest
from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed

HERE = Path(__file__).parent
SEARCH_SOURCES = Path(negmine_server.scan.cuda.__file__).parent
COMPILER = shutil.which("g++")
FLAGS = (
    *("-std=c++17", "-O1", "-fPIC", "-x", "c++", "-DNEGMINE_EMULATED", "-include", str(HERE / "emulator.hpp")),
    *("-ffp-contract=off", "-fno-strict-aliasing", "-fwrapv", "-fvisibility=hidden", "-fno-gnu-unique"),
    *("-fsanitize=bounds,alignment,shift-exponent", "-fno-sanitize-recover=all"),
    *("-Wall", "-Wextra", "-Wno-unknown-pragmas", "-Wno-unused-parameter", "-Wno-unused-function"),
)
CACHE = Path(tempfile.gettempdir()) / f"negmine-emulated-{os.getuid()}"
MESSAGE_BYTES = 1024
_LOADING = Lock()

without_compiler = pytest.mark.skipif(COMPILER is None, reason="kernels are emulated with g++, which is not here")


class EmulationError(AssertionError):
    """A kernel did what a device would not forgive."""


class _Launch(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_void_p),
        ("number", ctypes.c_int),
        ("grid_x", ctypes.c_uint32),
        ("grid_y", ctypes.c_uint32),
        ("threads", ctypes.c_uint32),
        ("shared_bytes", ctypes.c_uint32),
        ("unused", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
        ("message", ctypes.c_char * MESSAGE_BYTES),
    )


class EmulatedLauncher:
    """`Launcher` of the CPU. `seed` 0 runs blocks and threads in order, another one in an order of its own."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def prepare(self, kernels: Sequence[Kernel]) -> None:
        for kernel in kernels:
            _loaded(kernel)

    def launch(self, kernel: Kernel, blocks: tuple[int, int], argument: int, number: int) -> None:
        library, lock = _loaded(kernel)
        launch = _Launch(argument, number, *blocks, kernel.threads, kernel.shared_bytes, 0, self.seed)
        with lock:  # the static shared memory of a library is there once
            library.negmine_emulate(getattr(library, kernel.name), ctypes.byref(launch))
        if launch.message:
            raise EmulationError(f"{kernel.source.name}, {kernel.name}: {launch.message.decode()}")


def _loaded(kernel: Kernel) -> tuple[ctypes.CDLL, Lock]:
    with _LOADING:  # two threads that compile the same would have a lock each
        return _library(kernel.source, kernel.macros)


@cache
def _library(source: Path, macros: tuple[tuple[str, int], ...]) -> tuple[ctypes.CDLL, Lock]:
    """The source compiled with the macros, out of the cache where neither it nor a header nor a flag has changed."""
    flags = [*FLAGS, f"-I{SEARCH_SOURCES}", *(f"-D{name}={value}" for name, value in macros)]
    flags += os.environ.get("NEGMINE_EMULATOR_FLAGS", "").split()
    headers = sorted({*source.parent.glob("*.cuh"), *SEARCH_SOURCES.glob("*.cuh"), *HERE.glob("*.hpp")})
    parts = [repr(flags).encode(), str(source).encode(), *(path.read_bytes() for path in [source, *headers])]
    library = CACHE / f"{source.stem}-{hashlib.sha256(b'|'.join(parts)).hexdigest()[:24]}.so"
    if not library.exists():
        _compile(source, flags, library)
    return ctypes.CDLL(str(library)), Lock()


def _compile(source: Path, flags: list[str], library: Path) -> None:
    """Compiles beside the cache and moves the result in, so that processes may do the same at once."""
    CACHE.mkdir(mode=0o700, exist_ok=True)
    assert COMPILER is not None, "tests of kernels are skipped without g++"
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        built, linked = Path(scratch) / "kernel.o", Path(scratch) / "kernel.so"
        # Linked without the checks' flag: emulator.hpp has what they call.
        commands = ([COMPILER, *flags, "-c", str(source), "-o", str(built)],)
        commands += ([COMPILER, "-shared", "-Wl,-Bsymbolic,-z,defs", str(built), "-o", str(linked), "-lm"],)
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise DeviceFailed(f"{source.name} does not compile:\n{done.stderr}")
        linked.replace(library)
