"""The kernels that turn what scanners find into results, and with how many blocks each is launched."""

from __future__ import annotations

from negmine_server.device.program import Kernel
from negmine_server.scan.cuda.block import SOURCE

PREPARE = Kernel(SOURCE / "prepare.cu", "prepare", threads=128)
OFFER = Kernel(SOURCE / "offer.cu", "offer", threads=256)
CUT = Kernel(SOURCE / "cut.cu", "cut", threads=512)
FINISH = Kernel(SOURCE / "finish.cu", "finish", threads=256)
RESCORE = Kernel(SOURCE / "rescore.cu", "rescore", threads=256)
SCAN_FLOAT = Kernel(SOURCE / "floats.cu", "scan_float", threads=256)
KERNELS = (PREPARE, OFFER, CUT, FINISH, RESCORE, SCAN_FLOAT)

_LANES = 16  # of a pair that is rescored
_SIDE = 32  # anchors that a block of the float scan takes at once
# Blocks that a processor holds at a time: what the kernels' bounds and shared memory allow.
_OFFERS, _RESCORES, _FLOATS = 4, 5, 2
_WAVES = 8  # of rescoring, whose results take unequally long where some are missing
_ANCHOR_COLUMNS_MAX = 8  # beyond, blocks that share rows drift apart


def blocks(kernel: Kernel, anchors: int, r: int, processors: int) -> tuple[int, int]:
    """Blocks (x, y) of one of `KERNELS` for a search of so many anchors, each with r results; any number is right."""
    if kernel is OFFER:
        return _OFFERS * processors, 1
    if kernel is RESCORE:
        pairs_each = kernel.threads // _LANES
        return min(-(-anchors * r // pairs_each), _RESCORES * _WAVES * processors), 1
    if kernel is SCAN_FLOAT:
        columns = min(-(-anchors // _SIDE), _ANCHOR_COLUMNS_MAX)
        return -(-_FLOATS * processors // columns), columns
    return anchors, 1
