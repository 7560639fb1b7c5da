"""Symmetric scans by XOR and POPC: which of `popc.cu`'s variants scans how many anchors.

For devices without 1-bit tensor cores, and what those are measured against. Devices before 8.0 have 64 KiB of shared
memory, in which codes of up to 30 words have room.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from negmine_server.device.program import Kernel
from negmine_server.scan.cuda.block import TILE_ROWS
from negmine_server.scan.cuda.variants import UNIT_ROWS, Variant, blocks_of, ring_bytes

HERE = Path(__file__).parent
PROBED_SLOTS = 16
"""A work's at most: few works have more anchors, and what is beyond a work's anchors is scanned for nothing."""

_SLOTS = (4, 16, 64, 256)
_THREADS_MIN, _THREADS_MAX = 64, 256


@cache
def variants(words: int) -> tuple[Variant, ...]:
    """All variants for codes of 64-bit words, by slots."""
    rows = slice_rows(words)
    shared = ring_bytes(rows, row_bytes(words))
    made = []
    for slots, lanes, threads in shapes(words, _anchors_held(words)):
        blocks = blocks_of(threads, shared, registers=128 if words <= 32 else 256)
        macros = (
            *(("WORDS", words), ("ANCHORS", slots // lanes), ("LANES", lanes), ("THREADS", threads)),
            *(("SLICE_ROWS", rows), ("BLOCKS", blocks)),
        )
        made.append(Variant(Kernel(HERE / "popc.cu", "scan_popc", threads, shared, macros), slots, blocks))
    return tuple(made)


def probed(words: int) -> Variant:
    """The variant for works of up to its slots, launched as (x, 1)."""
    return next(variant for variant in variants(words) if variant.slots == PROBED_SLOTS)


def shapes(words: int, held: int) -> Iterator[tuple[int, int, int]]:
    """(slots, threads that read the same row, threads of a block) where a thread holds up to so many anchors.

    Threads share a slice's units of rows evenly, so blocks of few anchors are small.
    """
    units = slice_rows(words) // UNIT_ROWS
    for slots in _SLOTS:
        lanes = slots // min(held, max(1, slots // 16))
        if lanes * units >= _THREADS_MIN:
            yield slots, lanes, min(_THREADS_MAX, lanes * units)


def slice_rows(words: int) -> int:
    """Rows that lie in one stage of shared memory: some KiB of them."""
    return TILE_ROWS if words <= 4 else TILE_ROWS // 2 if words <= 12 else TILE_ROWS // 4


def row_bytes(words: int) -> int:
    """Bytes from row to row in shared memory, as `PITCH` of the kernel: those of a stored code."""
    return 16 * -(-words // 2)


def _anchors_held(words: int) -> int:
    """A thread's anchors at most: 64 of its registers, or what one takes."""
    return 8 if words <= 4 else 4 if words <= 8 else 2 if words <= 16 else 1
