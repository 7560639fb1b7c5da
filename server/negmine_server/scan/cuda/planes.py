"""Asymmetric scans by bit planes: which of `planes.cu`'s variants scans how many anchors.

For devices without int8 tensor cores, and what those are measured against. Codes may be as wide as in `popc.py`.
"""

from __future__ import annotations

from functools import cache

from negmine_server.device.program import Kernel
from negmine_server.scan.cuda.popc import HERE, PROBED_SLOTS, row_bytes, shapes, slice_rows
from negmine_server.scan.cuda.variants import Variant, blocks_of, ring_bytes

PLANES = 8
"""Of int8 values. Fewer hold values of -2^(planes - 1) to 2^(planes - 1) - 1, and cost as much less."""

_CORRECTION_BYTES = 4


@cache
def variants(words: int, planes: int = PLANES) -> tuple[Variant, ...]:
    """All variants for codes of 64-bit words, by slots."""
    rows = slice_rows(words)
    shared = ring_bytes(rows, row_bytes(words) + _CORRECTION_BYTES)
    made = []
    for slots, lanes, threads in shapes(words, held=1):
        blocks = blocks_of(threads, shared)
        macros = (
            *(("WORDS", words), ("PLANES", planes), ("LANES", lanes), ("THREADS", threads)),
            *(("SLICE_ROWS", rows), ("BLOCKS", blocks)),
        )
        made.append(Variant(Kernel(HERE / "planes.cu", "scan_planes", threads, shared, macros), slots, blocks))
    return tuple(made)


def probed(words: int, planes: int = PLANES) -> Variant:
    """The variant for works of up to its slots, launched as (x, 1)."""
    return next(variant for variant in variants(words, planes) if variant.slots == PROBED_SLOTS)


def layout(words: int, planes: int = PLANES) -> Kernel:
    """Once a search, after `prepare`: takes the anchors' values apart into planes. Any grid."""
    return Kernel(HERE / "planes.cu", "prepare_planes", 256, macros=variants(words, planes)[0].kernel.macros)
