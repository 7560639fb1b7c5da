"""What runs kernels on a CPU does what a device does, and reports what a device would not forgive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cuda_emulator.emulated import EmulatedLauncher, EmulationError, without_compiler
from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed
from numpy.typing import NDArray

pytestmark = without_compiler

SOURCE = Path(__file__).with_name("machine_kernels.cu")
SEEDS = (0, 1, 2)
LANES = np.arange(32)


def run(
    name: str,
    words: NDArray[np.uint32],
    number: int = 0,
    *,
    threads: int = 64,
    blocks: int = 1,
    seed: int = 0,
    **more: int,
) -> None:
    kernel = Kernel(SOURCE, name, threads, more.get("shared_bytes", 0))
    EmulatedLauncher(seed).launch(kernel, (blocks, 1), words.ctypes.data, number)


def aligned_words(count: int) -> NDArray[np.uint32]:
    """Zeroed words from an address on that any vector may be read from."""
    room = np.zeros(count + 4, np.uint32)
    return room[-room.ctypes.data % 16 // 4 :][:count]


@pytest.mark.parametrize("seed", SEEDS)
def test_shared_memory_atomics_and_barriers(seed: int) -> None:
    words = aligned_words(128)
    run("add_up", words, 3, blocks=2, seed=seed)
    threads, blocks = np.arange(128) % 64, np.arange(128) // 64
    assert words.tolist() == (sum(range(64)) + 3 * 64 + 3 + threads % 3 + 5 + blocks % 5).tolist()


def test_a_macro_is_seen() -> None:
    words = aligned_words(64)
    kernel = Kernel(SOURCE, "add_up", 64, macros=(("WORDS", 2),))
    EmulatedLauncher().launch(kernel, (1, 1), words.ctypes.data, 0)
    assert words.tolist() == (sum(range(64)) + 2 * (3 + np.arange(64) % 3) + 5).tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_lanes_of_a_warp_exchange_values(seed: int) -> None:
    words = aligned_words(256)
    run("shuffle", words, 9, threads=32, seed=seed)
    one, up, down, crossed, ballot, most, parts, match = words.reshape(8, 32)
    assert one.tolist() == (LANES // 8 * 8 + 5).tolist()
    assert up.tolist() == np.where(LANES % 16 < 3, LANES, LANES - 3).tolist()
    assert down.tolist() == np.where(LANES % 16 > 12, LANES, LANES + 3).tolist()
    assert crossed.tolist() == (LANES ^ 6).tolist()
    assert set(ballot.tolist()) == {sum(1 << int(lane) for lane in LANES if lane % 3 == 0)}
    assert set(most.tolist()) == {31}
    assert parts.tolist() == [28] * 8 + [1] * 24
    assert match.tolist() == [0x11111111 << lane % 4 for lane in range(32)]


@pytest.mark.parametrize("bits", [128, 256])
def test_the_fragments_of_the_bit_product_lie_as_the_instruction_wants_them(bits: int) -> None:
    """Layout of mma.m16n8k128 and m16n8k256 (PTX ISA), written down a second time."""
    random = np.random.default_rng(5)
    a = random.integers(0, 2, (16, bits), np.uint8)
    b = random.integers(0, 2, (8, bits), np.uint8)
    a_words = np.packbits(a, axis=1, bitorder="little").view(np.uint32)
    b_words = np.packbits(b, axis=1, bitorder="little").view(np.uint32)
    words = aligned_words(128 + 64 + 128)
    group, part = LANES // 4, LANES % 4
    for half in range(bits // 128):
        for low in range(2):
            words[: 32 * 4].reshape(32, 4)[:, 2 * half + low] = a_words[group + 8 * low, part + 4 * half]
        words[128:192].reshape(32, 2)[:, half] = b_words[group, part + 4 * half]
    run("multiply", words, bits, threads=32)
    product = a.astype(int) @ b.astype(int).T
    d = words[192:].reshape(32, 4).astype(int) - [1, 2, 3, 4]
    for at in range(4):
        assert d[:, at].tolist() == product[group + at // 2 * 8, 2 * part + at % 2].tolist()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_is_there_after_a_wait_and_a_barrier(seed: int) -> None:
    assert copied(1, seed)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_copy_that_is_not_waited_for_is_not_there(number: int) -> None:
    assert not copied(number, seed=0)


def copied(number: int, seed: int) -> bool:
    """Whether the threads read from shared memory what they copied there."""
    words = aligned_words(512)
    words[:256] = np.arange(256)
    run("copy", words, number, seed=seed, shared_bytes=1024)
    return bool((words[256:].reshape(64, 4) == words[:256].reshape(64, 4)[::-1]).all())


@pytest.mark.parametrize(
    ("number", "problem"),
    [
        (0, "24 of 64 ended; 40 wait at __syncthreads"),
        (1, "divergent barriers"),
        (2, "32 of 64 ended; 32 wait at __shfl_sync"),
        (3, "without its own lane in the mask"),
        (4, "index out of bounds"),
        (5, "misaligned address"),
        (6, "shift by more than there are bits"),
        (7, "wrote behind its dynamic shared memory"),
        (8, "no memory at 0x10"),
        (9, "reads lane 16, which is not in the mask"),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_errors_are_reported(number: int, problem: str, seed: int) -> None:
    with pytest.raises(EmulationError, match=problem):
        run("wrong", aligned_words(64), number, seed=seed, blocks=2, shared_bytes=128)


def test_shared_memory_is_garbage_at_first() -> None:
    words = aligned_words(64)
    run("wrong", words, 10)
    assert (words != 0).all()


def test_instructions_of_one_thread() -> None:
    words = aligned_words(1024 * 13)
    random = np.random.default_rng(6)
    x = words[:1024]
    x[:] = random.integers(0, 1 << 32, 1024, dtype=np.uint32)
    x[:512] = random.normal(size=512).astype(np.float32).view(np.uint32)
    run("numbers", words, 7, threads=128, blocks=8)
    y = x[np.arange(1024) ^ 1]
    octets, others = x.view(np.int8).reshape(-1, 4).astype(int), y.view(np.int8).reshape(-1, 4).astype(int)
    with np.errstate(all="ignore"):
        a, b = x.view(np.float32), y.view(np.float32)
        floats = [a * b, a + b, a / b, x.astype(np.uint16).view(np.float16).astype(np.float32)]
    wanted = [
        [int(v).bit_count() for v in x],
        [(int(v) & -int(v)).bit_length() for v in x],
        [32 - int(v).bit_length() for v in x],
        [int(f"{int(v):032b}"[::-1], 2) for v in x],
        # Bytes 6, 7 of (y, x) and 2, 1 of x: selector 0x1276, lowest first.
        (y >> 16 & 0xFF) | (y >> 24 & 0xFF) << 8 | (x >> 16 & 0xFF) << 16 | (x >> 8 & 0xFF) << 24,
        y << 9 | x >> 23,
        ((octets * others).sum(1) + 7).astype(np.uint32),
        np.maximum(np.maximum(x.view(np.int32), y.view(np.int32)), 3).view(np.uint32),
    ]
    results = words[1024:].reshape(12, 1024)
    for found, expected in zip(results[:8], wanted, strict=True):
        assert found.tolist() == np.asarray(expected, np.uint32).tolist()
    for found, real in zip(results[8:], floats, strict=True):
        np.testing.assert_array_equal(found.view(np.float32), real)


def test_a_source_that_does_not_compile_is_reported_with_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "broken.cu"
    broken.write_text(
        '#include "machine.cuh"\nKERNEL(32, 1) broken(const void* argument, int number) { nonsense(); }\n'
    )
    with pytest.raises(DeviceFailed, match="nonsense"):
        EmulatedLauncher().prepare([Kernel(broken, "broken", 32)])


def test_a_launch_beyond_what_a_device_allows_is_refused() -> None:
    with pytest.raises(EmulationError, match="refused"):
        run("add_up", aligned_words(64), threads=48)
