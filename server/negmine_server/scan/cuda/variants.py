"""Kernels that come in variants, each for some number of anchors at a time: which scans how many, and its grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from negmine_server.device.program import Kernel

UNIT_ROWS = 16
"""Of such a kernel: the rows 8i + 2c + {0, 1} of 64."""

# Of a multiprocessor: shared memory, and threads that may have 128 registers each.
_SHARED_BYTES = 228 << 10
_THREADS = 512
_STATIC_BYTES = 3 << 10  # a block's slices, and what the system reserves
_STAGE_BYTES_OF_FOUR = 24 << 10


@dataclass(frozen=True, slots=True)
class Variant:
    """A kernel that scans for up to `slots` anchors in one pass over the rows."""

    kernel: Kernel
    slots: int
    blocks: int
    """Of a multiprocessor at once."""

    def grid(self, slots: int, processors: int) -> tuple[int, int]:
        """Blocks (x, y) of an exhaustive scan: x share the rows, each y has other anchors, and all run at once."""
        passes = -(-slots // self.slots)
        return max(1, processors * self.blocks // passes), passes


def best_of(variants: Sequence[Variant], slots: int) -> Variant:
    """The variant that scans all rows for `slots` anchors: the least work, and of several the fewest passes."""
    return min(variants, key=lambda variant: (-(-slots // variant.slots) * variant.slots, -variant.slots))


def ring_bytes(rows: int, row_bytes: int) -> int:
    """Shared memory of the ring in `slices.cuh` for slices of so many rows."""
    stage = rows * row_bytes
    return stage * (3 if stage > _STAGE_BYTES_OF_FOUR else 4)


def blocks_of(threads: int, shared_bytes: int, registers: int = 128) -> int:
    """Blocks that a multiprocessor is to hold of a kernel with so many registers a thread."""
    return min(_THREADS * 128 // registers // threads, _SHARED_BYTES // (shared_bytes + _STATIC_BYTES))
