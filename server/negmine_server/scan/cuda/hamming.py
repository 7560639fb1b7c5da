"""Symmetric scans on 1-bit tensor cores: which of `hamming.cu`'s variants scans how many anchors, and its grid."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from negmine_server.device.program import Kernel
from negmine_server.scan.cuda.block import TILE_ROWS
from negmine_server.scan.cuda.variants import Variant, blocks_of, ring_bytes

HERE = Path(__file__).parent
FRAGMENT = 16
"""Anchors of one tensor instruction: first slots of works are multiples of it."""

_GROUP_ROWS = 64
_WARPS_OF_FEW_ANCHORS = 4
_WARPS = 8

FRAGMENTS = Kernel(HERE / "fragments.cu", "prepare_fragments", threads=256)
"""Once a search, after `prepare`: brings the anchors into the instruction's order."""


@cache
def variants(words: int) -> tuple[Variant, ...]:
    """All variants for codes of 64-bit words, by slots. First of few anchors, where warps share the rows, to as many as
    registers hold in blocks of eight warps."""
    rows = slice_rows(words)
    warps_rows, warps_anchors, fragments = rows // _GROUP_ROWS, 1, 1
    made = [_variant(words, fragments, warps_anchors, warps_rows)]
    while warps_anchors < _WARPS:
        if warps_anchors * warps_rows >= _WARPS_OF_FEW_ANCHORS and fragments < _fragments_held(words):
            fragments *= 2
        else:
            warps_anchors *= 2
            warps_rows = min(warps_rows, _WARPS // warps_anchors)
        made.append(_variant(words, fragments, warps_anchors, warps_rows))
    return tuple(made)


def probed(words: int) -> Variant:
    """The variant for works of up to its slots, launched as (x, 1): memory, not arithmetic, limits it even if a work
    has few."""
    return next(variant for variant in variants(words) if variant.slots >= 4 * FRAGMENT)


def slice_rows(words: int) -> int:
    """Rows that lie in one stage of shared memory: some KiB of them."""
    return TILE_ROWS if words <= 4 else 2 * _GROUP_ROWS if words <= 16 else _GROUP_ROWS


def _fragments_held(words: int) -> int:
    """A warp's fragments of 16 anchors at most: 64 of its threads' 128 registers, 32 where the rest is needed too."""
    return 8 if words <= 4 else 4 if words <= 16 else 2 if words <= 32 else 1


def _pitch(words: int) -> int:
    """Bytes from row to row in shared memory, as `PITCH` of the kernel."""
    wide = -(-words // 4)
    return 16 if words <= 2 else (wide | 1) * 32


def _variant(words: int, fragments: int, warps_anchors: int, warps_rows: int) -> Variant:
    rows = slice_rows(words)
    shared = ring_bytes(rows, _pitch(words))
    threads = 32 * warps_anchors * warps_rows
    blocks = blocks_of(threads, shared)
    macros = (
        *(("WORDS", words), ("QF", fragments), ("WARPS_ANCHORS", warps_anchors), ("WARPS_ROWS", warps_rows)),
        *(("SLICE_ROWS", rows), ("BLOCKS", blocks)),
    )
    kernel = Kernel(HERE / "hamming.cu", "scan_hamming", threads, shared, macros)
    return Variant(kernel, FRAGMENT * fragments * warps_anchors, blocks)
