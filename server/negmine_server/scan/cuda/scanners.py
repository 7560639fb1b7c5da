"""The kernels that look for rows that may enter, chosen by what a device has, behind one small interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from negmine_server.device.devices import scanners_for
from negmine_server.device.program import Kernel
from negmine_server.domain import Scoring
from negmine_server.scan.cuda import hamming, planes, popc, selection
from negmine_server.scan.cuda.variants import UNIT_ROWS, Variant, best_of

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu


class Scanner(Protocol):
    """Finds, in a round's works, the units of rows that may enter.

    Attributes:
        unit_rows: rows of a unit; 0 = it appends candidates itself.
        multiple: anchors that are scanned at once; steps' slots are padded to it.
        slots_max: the most slots that a work may have.
    """

    unit_rows: int
    multiple: int
    slots_max: int

    def prepare(self) -> None:
        """Compiles. Raises DeviceFailed."""

    def arm(self, search: int, slots: int) -> None:
        """Enqueues what lays out the anchors, after `prepare`; `search` is the block's address."""

    def scan(self, search: int, slots: int, round_: int, *, probed: bool) -> None:
        """Enqueues the scan of a round, of listed works if probed."""


@dataclass(frozen=True, slots=True)
class Scanners:
    """A device's, for one width of codes."""

    symmetric: Scanner
    asymmetric: Scanner
    float_: Scanner

    def of(self, scoring: Scoring) -> Scanner:
        """The one for a scoring."""
        return {
            Scoring.SYMMETRIC: self.symmetric,
            Scoring.ASYMMETRIC: self.asymmetric,
            Scoring.FLOAT: self.float_,
        }[scoring]

    def prepare(self) -> None:
        """Compiles all. Raises DeviceFailed."""
        for scanner in (self.symmetric, self.asymmetric, self.float_):
            scanner.prepare()


def scanners_of(gpu: Gpu, words: int) -> Scanners:
    """The scanners that `scanners_for` names for the device."""
    chosen = scanners_for(gpu.capability)
    return Scanners(
        named(chosen.symmetric, gpu, words, symmetric=True), named(chosen.asymmetric, gpu, words), _Float(gpu)
    )


def named(name: str, gpu: Gpu, words: int, *, symmetric: bool = False) -> Scanner:
    """A scanner by its name: "b1", "int8" (for either scoring), "popc", "planes", or "planes4" for values of 4 bits."""
    if name == "int8":
        return _Int8(gpu, words, symmetric=symmetric)
    if name == "b1":
        return _Varied(gpu, hamming.variants(words), hamming.probed(words), hamming.FRAGMENTS)
    if name == "popc":
        return _Varied(gpu, popc.variants(words), popc.probed(words))
    bits = {"planes": planes.PLANES, "planes4": 4}[name]
    return _Varied(gpu, planes.variants(words, bits), planes.probed(words, bits), planes.layout(words, bits))


class _Varied:
    """Kernels in CUDA C++: 1-bit tensor cores, or POPC; a variant for every number of anchors.

    Args:
        probed: the variant for listed works.
        layout: lays out the anchors, where the scan wants them in an order of its own.
    """

    unit_rows = UNIT_ROWS

    def __init__(self, gpu: Gpu, variants: Sequence[Variant], probed: Variant, layout: Kernel | None = None) -> None:
        self._gpu, self._variants, self._probed, self._layout = gpu, variants, probed, layout
        self.multiple, self.slots_max = variants[0].slots, probed.slots

    def prepare(self) -> None:
        """See Scanner."""
        kernels = [variant.kernel for variant in self._variants]
        self._gpu.launcher.prepare(kernels if self._layout is None else [self._layout, *kernels])

    def arm(self, search: int, slots: int) -> None:
        """See Scanner."""
        if self._layout is not None:
            self._gpu.launcher.launch(self._layout, _spread(self._gpu, slots), search, 0)

    def scan(self, search: int, slots: int, round_: int, *, probed: bool) -> None:
        """See Scanner."""
        variant = self._probed if probed else best_of(self._variants, slots)
        grid = variant.grid(min(slots, variant.slots) if probed else slots, self._gpu.processors)
        self._gpu.launcher.launch(variant.kernel, grid, search, round_)


class _Int8:
    """int8 tensor cores."""

    slots_max = 1 << 20

    def __init__(self, gpu: Gpu, words: int, *, symmetric: bool) -> None:
        from negmine_server.scan.cuda import int8  # noqa: PLC0415 (it imports triton)

        self._gpu = gpu
        self._made = int8.Int8Scanner(words, symmetric, gpu.capability)
        self._planes = int8.PREPARE_PLANES
        self._kernel = self._made.kernel_on(gpu.torch_device.type)
        self.unit_rows, self.multiple = int8.UNIT_ROWS, self._made.tiles.anchors

    def prepare(self) -> None:
        """See Scanner."""
        self._gpu.launcher.prepare([self._planes, self._kernel])

    def arm(self, search: int, slots: int) -> None:
        """See Scanner."""
        self._gpu.launcher.launch(self._planes, _spread(self._gpu, slots), search, 0)

    def scan(self, search: int, slots: int, round_: int, *, probed: bool) -> None:
        """See Scanner. Listed works and all tiles are one to it."""
        blocks = self._made.tiles.blocks * self._gpu.processors
        self._gpu.launcher.launch(self._kernel, (blocks, 1), search, round_)


class _Float:
    """Exact scores of every row, straight to the candidates."""

    unit_rows = 0
    multiple = 1
    slots_max = 1 << 20

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    def prepare(self) -> None:
        """See Scanner."""
        self._gpu.launcher.prepare([selection.SCAN_FLOAT])

    def arm(self, search: int, slots: int) -> None:
        """See Scanner: there is nothing to lay out."""

    def scan(self, search: int, slots: int, round_: int, *, probed: bool) -> None:
        """See Scanner."""
        assert not probed, "exact scores are of every row"
        blocks = selection.blocks(selection.SCAN_FLOAT, slots, 0, self._gpu.processors)
        self._gpu.launcher.launch(selection.SCAN_FLOAT, blocks, search, round_)


def _spread(gpu: Gpu, slots: int) -> tuple[int, int]:
    """Blocks enough for a few slots each, and not more than fill the device."""
    return max(1, min(slots // 4, 4 * gpu.processors)), 1
