"""A Search block in host memory, by hand: pages of codes, anchors and works, for a scanner alone on the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from negmine_server.scan.cuda.block import ROUND, ROUNDS_MAX, SEARCH, TILE_ROWS, WORK, ScoringCode
from numpy.typing import NDArray

try:
    import torch
except ModuleNotFoundError:  # then there is no device
    torch = None

COLUMNS = ("ids", "versions", "died", "corrections", "codes")
Units = list[tuple[int, int]]


def aligned(shape: tuple[int, ...], dtype: Any, fill: int = 0) -> NDArray[Any]:
    """Bytes at a multiple of 256, as device memory is; where there is a device, in memory that it can read."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if torch is not None and torch.cuda.is_available():
        memory = torch.full((size + 256,), fill, dtype=torch.uint8, pin_memory=True).numpy()
    else:
        memory = np.full(size + 256, fill, np.uint8)
    start = -memory.ctypes.data % 256
    return memory[start : start + size].view(dtype).reshape(shape)


def placed(array: NDArray[Any]) -> NDArray[Any]:
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


def named_pairs(
    works: Sequence[tuple[int, int, int]], slot_anchors: Sequence[int], anchors: int, rows: int
) -> NDArray[np.bool_]:
    """Which pairs [B, rows] works of a tile, a first slot and a number of slots name."""
    pairs = np.zeros((anchors, rows), bool)
    for tile, first, slots in works:
        named = [anchor for anchor in slot_anchors[first : first + slots] if anchor >= 0]
        pairs[named, tile * TILE_ROWS : (tile + 1) * TILE_ROWS] = True
    return pairs


def row_bytes(words: int) -> int:
    return 16 * -(-words // 2)


def padded(codes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Codes [n, W] as they are stored: [n, row_bytes]."""
    stored = aligned((codes.shape[0], row_bytes(codes.shape[1])), np.uint8)
    stored[:, : 8 * codes.shape[1]] = codes.view(np.uint8).reshape(codes.shape[0], -1)
    return stored


@dataclass
class Rows:
    """Pages of 2^shift rows. codes [rows, W], corrections [rows]; rows of closed pages are there for the test alone."""

    codes: NDArray[np.uint64]
    shift: int = 8
    closed: Sequence[int] = ()
    corrections: NDArray[np.float32] | None = None
    kept: list[Any] = field(default_factory=list)

    @property
    def open_rows(self) -> NDArray[np.bool_]:
        return ~np.isin(np.arange(self.codes.shape[0]) >> self.shift, self.closed)

    def directory(self) -> NDArray[np.uint64]:
        size = 1 << self.shift
        pages = self.codes.shape[0] // size
        assert pages * size == self.codes.shape[0]
        directory = aligned((12, pages + 1), np.uint64)
        for page in set(range(pages)) - set(self.closed):
            rows = slice(page * size, (page + 1) * size)
            columns = {"codes": padded(self.codes[rows])}
            if self.corrections is not None:
                columns["corrections"] = placed(self.corrections[rows])
            for name, column in columns.items():
                directory[COLUMNS.index(name), page] = column.ctypes.data
            self.kept.append(columns)
        self.kept.append(directory)
        return directory


class Block:
    """A search for anchors' codes [B, W] (symmetric) or values int8 [B, 64 · W]; works [(tile, first slot, slots)] with
    slot_anchors make it a probed one."""

    def __init__(
        self,
        rows: Rows,
        codes: NDArray[np.uint64] | None = None,
        values: NDArray[np.int8] | None = None,
        works: Sequence[tuple[int, int, int]] | None = None,
        slot_anchors: Sequence[int] | None = None,
        units_max: int = 1 << 16,
    ) -> None:
        words = rows.codes.shape[1]
        b = codes.shape[0] if codes is not None else values.shape[0] if values is not None else 0
        slots = np.asarray(range(b) if slot_anchors is None else slot_anchors, np.int32)
        padded_slots = -(-slots.shape[0] // 16) * 16
        self.anchors = b
        tiles = rows.codes.shape[0] // TILE_ROWS
        self.arrays: dict[str, NDArray[Any]] = {
            "directory": rows.directory(),
            "rounds": aligned((ROUNDS_MAX,), ROUND),
            "slot_anchors": placed(np.r_[slots, np.full(padded_slots - slots.shape[0], -1, np.int32)]),
            "codes": padded(codes if codes is not None else np.zeros((b, words), np.uint64)),
            "fragments": aligned((padded_slots * row_bytes(words) // 4,), np.uint32),
            "planes": aligned((padded_slots, 64 * words), np.int8),
            "ones": aligned((b,), np.int32),
            "totals": aligned((b,), np.int32),
            "limits": aligned((b,), np.int32),
            "lows": aligned((b,), np.float32),
            "units": aligned((units_max, 2), np.uint32),
            "unit_counts": aligned((ROUNDS_MAX,), np.uint32),
        }
        if codes is not None:
            self.arrays["ones"][:] = np.bitwise_count(codes).sum(axis=1)
        if values is not None:
            self.arrays["values"] = placed(values)
            self.arrays["totals"][:] = values.sum(axis=1, dtype=np.int64)
        if works is not None:
            self.arrays["works"] = placed(np.array([(*work, 0) for work in works], WORK))
        self.numbers = {
            "page_slots": self.arrays["directory"].shape[1],
            "page_shift": rows.shift,
            "words": words,
            "row_bytes": row_bytes(words),
            "tiles": tiles,
            "stride": scattering(tiles),
            "unit_rows": 16,
            "anchors": b,
            "slots": slots.shape[0],
            "units_max": units_max,
            "epoch": 1,
            "scoring": int(ScoringCode.SYMMETRIC if values is None else ScoringCode.ASYMMETRIC),
        }
        self.works = tiles if works is None else len(works)
        self._block = aligned((1,), SEARCH)
        self.set_round(0, 0, self.works)

    def set_round(self, round_: int, first: int, last: int) -> None:
        self.arrays["rounds"][round_] = (first, last)

    @property
    def address(self) -> int:
        for name, number in self.numbers.items():
            self._block[name] = number
        for name, array in self.arrays.items():
            self._block[name] = array.ctypes.data
        return self._block.ctypes.data

    def units(self, round_: int = 0) -> Units:
        """(anchor, place) appended in a round that all fitted in."""
        count = int(self.arrays["unit_counts"][round_])
        assert count <= self.numbers["units_max"]
        found: Units = [(int(anchor), int(place)) for anchor, place in self.arrays["units"][:count]]
        assert len(set(found)) == count, "a unit is appended once"
        return sorted(found)


def scattering(tiles: int) -> int:
    """A stride beyond `tiles` that reaches every tile."""
    stride = tiles + tiles // 3 + 1
    while np.gcd(stride, tiles) != 1:
        stride += 1
    return stride


def places_of(rows: int) -> NDArray[np.int64]:
    """Row -> place of its unit of 16 rows, as search.cuh says."""
    row = np.arange(rows)
    return row // 64 * 4 + row % 8 // 2
