"""The scanner of int8 tensor cores: int8 anchors, or the signs of an anchor's code, against the bits of stored codes.

A code's bits become {0, 1} bytes on the chip and acc = Σ value · bit. For values v the dot with the signs is
2·acc − Σ v; for v = ±1 after an anchor's bits the Hamming distance is popc(anchor) − acc. Of every 64 rows only the
best acc is held against what the anchor lets in, with the range of the rows' corrections as a bound; 64 rows of which
one may enter become a unit.

Written in Triton, which this module and its kernel alone import: import it only where a device was asked for. Triton
compiles it to machine code and has no part in launching it: its own launcher would need a C compiler.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed
from negmine_server.scan.cuda.block import SOURCE
from negmine_server.scan.cuda.int8_kernel import scan

UNIT_ROWS = 64
PREPARE_PLANES = Kernel(SOURCE / "int8_anchors.cu", "prepare_planes", threads=256)


class Tiles(NamedTuple):
    """What a block works on at a time. Chosen by what the machine code takes, which `make check` reads."""

    anchors: int
    rows: int
    warps: int
    stages: int
    """Tiles of anchors in shared memory: the one that is worked on and those on their way."""
    blocks: int
    """At once on a processor."""
    resident: bool
    """Rows are unpacked once for all anchors of a work."""


@dataclass(frozen=True, slots=True)
class Int8Scanner:
    """The scanner of one width and scoring for devices of one capability.

    A search launches `PREPARE_PLANES` after `prepare`, with any number of blocks, and in every round the compiled
    kernel, with any number of blocks too; best `tiles.blocks` for each of the device's processors.

    Args:
        words: 64-bit words of a code.
        symmetric: by Hamming distance; otherwise by the anchors' int8 values.
        capability: of the device, at least (8, 0).
    """

    words: int
    symmetric: bool
    capability: tuple[int, int]

    @property
    def tiles(self) -> Tiles:
        """How it is cut."""
        if self.capability[0] != 9:  # products by warps, or as little as 99 KiB of shared memory
            return Tiles(anchors=64, rows=128, warps=8, stages=2, blocks=1, resident=self.words <= 4)
        if self.words <= 4:  # a block compares while the other's products are made
            return Tiles(anchors=64, rows=256, warps=4, stages=3, blocks=2, resident=True)
        if self.words <= 8:
            return Tiles(anchors=64, rows=256, warps=8, stages=3, blocks=1, resident=True)
        return Tiles(anchors=128, rows=256, warps=16, stages=2, blocks=1, resident=False)

    @property
    def constants(self) -> dict[str, int | bool]:
        """What the kernel is compiled with."""
        tiles = self.tiles
        # A product runs over a power of two; where rows are unpacked again and again, over little at a time.
        step = min(self.words & -self.words, 8 if tiles.resident else 4)
        return {
            "words": self.words,
            "symmetric": self.symmetric,
            "step": step,
            "resident": tiles.resident,
            "n_anchors": tiles.anchors,
            "rows": tiles.rows,
        }

    def kernel_on(self, device: str) -> Kernel:
        """The kernel for "cuda"; for the "cpu" that stands in for it Triton's source, to be interpreted.

        Raises:
            DeviceFailed: as `compiled`.
        """
        if device == "cuda":
            return self.compiled()
        return Kernel(SOURCE / "int8_kernel.py", "scan", threads=1, macros=tuple(self.constants.items()))

    def compiled(self) -> Kernel:
        """The kernel's machine code; kept in Triton's cache. Neither a device nor a C compiler has to be there.

        Raises:
            DeviceFailed: Triton cannot compile it, or not write to its cache.
        """
        signature = {"search": "i64", "number": "i32"} | dict.fromkeys(self.constants, "constexpr")
        options = {"num_warps": self.tiles.warps, "num_stages": self.tiles.stages, "enable_fp_fusion": False}
        target = GPUTarget("cuda", 10 * self.capability[0] + self.capability[1], 32)
        try:
            made = triton.compile(ASTSource(scan, signature, self.constants), target=target, options=options)
        except (triton.TritonError, OSError) as error:
            raise DeviceFailed(f"Triton cannot compile {self}: {error}") from error
        cubin = Path(made.metadata_group[f"{made.name}.cubin"])
        return Kernel(cubin, made.name, threads=32 * self.tiles.warps, shared_bytes=made.metadata.shared)
