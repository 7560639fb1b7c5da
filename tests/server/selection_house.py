"""Searches over rows of the index with the kernels of selection alone: a few lines of numpy stand in for the scanners
and for the host's loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import search_blocks
from cuda_emulator.emulated import EmulatedLauncher
from negmine_server.domain import Batch, Candidates, Metric, Query, Scoring, VectorStore
from negmine_server.index.pages import OPTIONALS, Column, View, codes_of
from negmine_server.index.rows import Rows
from negmine_server.scan.cuda.block import ROUND, ROUNDS_MAX, SEARCH, TILE_ROWS, WORK, ScoringCode, StoreCode
from negmine_server.scan.cuda.rounds import stride_of
from negmine_server.scan.cuda.selection import CUT, FINISH, OFFER, PREPARE, RESCORE, SCAN_FLOAT, blocks
from negmine_server.scan.hamming import cosine_table
from scan_items import DIMENSION

PROCESSORS = 1
BORN = 11
COLUMNS = 12
GARBAGE = 0x5A
_PLAIN = (Column.IDS, Column.VERSIONS, Column.DIED, Column.CORRECTIONS)


def aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array as an allocator of a device would place it, full of garbage."""
    return search_blocks.aligned(shape, dtype, GARBAGE)


def copied(array: Any) -> Any:
    copy = aligned(array.shape, array.dtype)
    copy[...] = array
    return copy


class Grown:
    """Rows that grow batch by batch, and when each was born."""

    def __init__(
        self, words: int, store: VectorStore = VectorStore.FLOAT32, *, dimension: int = DIMENSION, page_rows: int = 512
    ) -> None:
        self.rows = Rows(words, store, dimension, page_rows=page_rows)
        self.born = np.zeros(0, np.uint32)

    def apply(self, batch: Batch) -> None:
        self.rows.apply(batch)
        view = self.rows.view
        written = (np.arange(view.block_rows) < view.counts[:, None]).reshape(-1)
        born = np.zeros(written.shape[0], np.uint32)
        born[: self.born.shape[0]] = self.born
        born[written & (born == 0)] = view.epoch
        self.born = born


class Memory:
    """Pages as a device holds them: the newest columns, codes item by item; searched as of some view."""

    def __init__(self, grown: Grown, of: View | None = None) -> None:
        view = self.view = grown.rows.view
        self.epoch = (of or view).epoch
        self.row_bytes = -(-8 * view.words // 16) * 16
        self.columns: list[Any] = []
        self.directory = aligned((COLUMNS, len(view.pages)), np.uint64)
        self.directory[...] = 0
        for slot, page in enumerate(view.pages):
            if page is None:
                continue
            first = slot * view.page_rows
            for column in (*_PLAIN, *(spec.column for spec in OPTIONALS), Column.VECTORS):
                if column in page.arrays:
                    self._hold(slot, column, copied(page.arrays[column]))
            codes = aligned((view.page_rows, self.row_bytes), np.uint8)
            codes[...] = 0
            packed = codes_of(view, np.arange(first, first + view.page_rows))
            codes[:, : 8 * view.words] = packed.view(np.uint8)
            self._hold(slot, Column.CODES, codes)
            born = aligned((view.page_rows,), np.uint32)
            part = grown.born[first : first + view.page_rows]
            born[...] = 0
            born[: part.shape[0]] = part
            self._hold(slot, BORN, born)

    def _hold(self, slot: int, column: int, array: Any) -> None:
        self.columns.append(array)
        self.directory[column, slot] = array.ctypes.data


@dataclass
class Limits:
    """Room and rounds of a search."""

    capacity: int = 1024
    units_max: int = 1 << 16
    unit_rows: int = 16
    firsts: tuple[int, ...] = (2,)  # works at which the second and later rounds start
    seed: int = 0


@dataclass
class Trace:
    """What happened on the way."""

    overflows: list[int] = field(default_factory=list)


class Search:
    """One search: its block and arrays."""

    def __init__(self, memory: Memory, query: Query, r: int, metric: Metric, limits: Limits, works: Any = None) -> None:
        self.memory, self.query, self.r, self.limits = memory, query, r, limits
        self.trace = Trace()
        self.launcher = EmulatedLauncher(limits.seed)
        view, b = memory.view, query.rows
        self.tiles = len(view.pages) * view.page_rows // TILE_ROWS
        self.arrays = self._arrays(works)
        for name in ("scales", "vectors", "after_scores", "after_ids", "floors", "exclude_groups", "require_tags",
                     "forbid_tags", "min_steps", "values"):  # fmt: skip
            if getattr(query, name) is not None:
                self.arrays[name] = copied(getattr(query, name))
        self.block = aligned((1,), SEARCH)
        self.block.view(np.uint8)[...] = 0
        norms = [page.arrays[Column.NORMS] for page in view.pages if page is not None and Column.NORMS in page.arrays]
        weights = np.append(np.concatenate(norms), 1) if norms else np.ones(1, np.float32)
        numbers: dict[str, Any] = {
            "page_slots": len(view.pages), "page_shift": view.shift, "epoch": memory.epoch, "words": view.words,
            "row_bytes": memory.row_bytes, "dimension": view.dimension, "store": StoreCode[view.store.name],
            "tiles": self.tiles, "stride": stride_of(self.tiles), "unit_rows": limits.unit_rows, "anchors": b,
            "slots": self.arrays["slot_anchors"].shape[0], "r": r, "capacity": limits.capacity,
            "units_max": limits.units_max, "scoring": ScoringCode[query.scoring.name],
            "by_norm": int(metric is Metric.INNER_PRODUCT),
            "weight_min": weights.min(), "weight_max": weights.max(),
        }  # fmt: skip
        for name, value in numbers.items():
            self.block[name] = value
        for name, array in self.arrays.items():
            self.block[name] = array.ctypes.data
        self.block["directory"] = memory.directory.ctypes.data

    def _arrays(self, works: Any) -> dict[str, Any]:
        b, r, bits, capacity = self.query.rows, self.r, 64 * self.memory.view.words, self.limits.capacity
        integers, longs, floats = np.int32, np.int64, np.float32
        shapes: dict[str, tuple[tuple[int, ...], Any]] = {
            "rounds": ((ROUNDS_MAX,), ROUND), "slot_anchors": ((b + 3,), integers),
            "codes": ((b, self.memory.row_bytes), np.uint8), "table": ((bits + 1,), floats),
            "ones": ((b,), integers), "totals": ((b,), integers), "bar_ids": ((b,), longs),
            "bar_scores": ((b,), floats),
            "limits": ((b,), integers), "lows": ((b,), floats), "fills": ((b,), integers), "kept": ((b,), integers),
            "above": ((b,), np.uint64), "above_now": ((b,), np.uint64), "candidate_scores": ((b, capacity), floats),
            "candidate_ids": ((b, capacity), longs), "candidate_rows": ((b, capacity), integers),
            "units": ((self.limits.units_max, 2), np.uint32), "unit_counts": ((ROUNDS_MAX,), np.uint32),
            "overflows": ((ROUNDS_MAX,), integers), "ids": ((b, r), longs), "scores": ((b, r), floats),
            "rescored": ((b, r), floats), "versions": ((b, r), longs), "rows": ((b, r), integers),
            "counts": ((b,), integers),
        }  # fmt: skip
        arrays = {name: aligned(shape, dtype) for name, (shape, dtype) in shapes.items()}
        arrays["slot_anchors"][...] = [*range(b), -1, -1, -1]
        arrays["codes"][...] = 0
        arrays["codes"][:, : bits // 8] = np.ascontiguousarray(self.query.codes).view(np.uint8)
        arrays["table"][...] = cosine_table(bits)
        if works is not None:
            slots, table = works
            arrays["slot_anchors"], arrays["works"] = copied(slots), copied(np.array(table, WORK))
        return arrays

    def launch(self, kernel: Any, round_: int = 0) -> None:
        grid = blocks(kernel, self.query.rows, self.r, PROCESSORS)
        self.launcher.launch(kernel, grid, self.block.ctypes.data, round_)

    def run(self, *, rescored: bool = False) -> Candidates:
        """The whole search, with what overflowed done again in halves."""
        works = self.arrays["works"].shape[0] if "works" in self.arrays else self.tiles
        edges = [0, *(first for first in self.limits.firsts if first < works), works]
        spans = [(first, last) for first, last in pairwise(edges) if first < last]
        self.launch(PREPARE)
        round_ = 0
        while spans:
            first, last = spans.pop(0)
            self.arrays["rounds"][round_] = first, last
            self.scan(round_, first, last)
            self.launch(CUT, round_)
            overflow = int(self.arrays["overflows"][round_])
            self.trace.overflows.append(overflow)
            if overflow:
                middle = (first + last) // 2
                assert first < middle, "a work overflowed alone"
                spans += [(first, middle), (middle, last)]
            round_ += 1
        self.launch(FINISH)
        if rescored:
            self.launch(RESCORE)
        a = self.arrays
        exact = a["rescored"] if rescored else None
        above = a["above"].astype(np.int64)
        return Candidates(a["ids"], a["scores"], exact, a["versions"], a["counts"], above, self.memory.view.rows)

    def scan(self, round_: int, first: int, last: int) -> None:
        """What a scanner and `offer` do to works [first, last)."""
        if self.query.scoring is Scoring.FLOAT:
            self.launch(SCAN_FLOAT, round_)
            return
        units = [unit for work in range(first, last) for unit in self._units(self._tile(work))]
        assert self.arrays["unit_counts"][round_] == 0
        self.arrays["unit_counts"][round_] = len(units)
        held = np.array(units[: self.limits.units_max], np.uint32).reshape(-1, 2)
        self.arrays["units"][: held.shape[0]] = held
        self.launch(OFFER, round_)

    def _tile(self, work: int) -> int:
        return work * stride_of(self.tiles) % self.tiles

    def _units(self, tile: int) -> list[tuple[int, int]]:
        """The units of a tile that reach the anchors' bars as `prepare` and `cut` set them."""
        view, a = self.memory.view, self.arrays
        rows = np.arange(tile * TILE_ROWS, (tile + 1) * TILE_ROWS)
        if view.pages[rows[0] // view.page_rows] is None:
            return []
        codes = codes_of(view, rows)
        if self.query.scoring is Scoring.SYMMETRIC:
            shared = np.bitwise_count(codes & self.query.codes[:, None]).sum(axis=2, dtype=np.int64)
            half = np.bitwise_count(codes).sum(axis=1, dtype=np.int64) // 2
            reach = shared - half >= -((a["limits"] - a["ones"]) // 2)[:, None]
        else:
            corrections = view.pages[rows[0] // view.page_rows].arrays[Column.CORRECTIONS][rows % view.page_rows]
            bits = np.unpackbits(codes.view(np.uint8), axis=1, bitorder="little").astype(np.int64)
            dots = 2 * (self.query.values.astype(np.int64) @ bits.T) - a["totals"][:, None]
            reach = dots.astype(np.float32) * corrections >= a["lows"][:, None]
        places = 4 * (rows // 64) + rows % 8 // 2 if self.limits.unit_rows == 16 else rows // 64
        q, at = np.nonzero(reach)
        return [(int(x), int(y)) for x, y in np.unique(np.stack([q, places[at]], axis=1), axis=0)]
