"""The int8 scanner against numpy, in Triton's interpreter or on a card: the units of the bound, for any width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray
from search_blocks import Block, Rows, Units, named_pairs

pytest.importorskip("torch")
pytest.importorskip("triton")

from negmine_server.scan.cuda.int8 import PREPARE_PLANES, UNIT_ROWS, Int8Scanner

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu

HOPPER, AMPERE = (9, 0), (8, 0)
both = pytest.mark.parametrize("symmetric", [False, True])


def random_rows(seed: int, words: int, n: int = 1024, **more: Any) -> Rows:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**64, (n, words), np.uint64)
    return Rows(codes, corrections=rng.uniform(0.5, 2.0, n).astype(np.float32), **more)


def random_values(seed: int, words: int, b: int) -> NDArray[np.int8]:
    return np.random.default_rng(seed + 1).integers(-128, 128, (b, 64 * words), np.int8)


def bits_of(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.unpackbits(codes.view(np.uint8), axis=1, bitorder="little").reshape(len(codes), -1).astype(np.int64)


class Case:
    """A search of random anchors with bars that a few rows reach."""

    def __init__(self, rows: Rows, values: NDArray[np.int8], *, symmetric: bool, **more: Any) -> None:
        assert rows.corrections is not None
        self.rows, self.symmetric, self.words = rows, symmetric, rows.codes.shape[1]
        if symmetric:
            signs = np.packbits(values >= 0, axis=1, bitorder="little").view(np.uint64)
            self.block = Block(rows, codes=signs, **more)
            self.scores = -np.bitwise_count(signs[:, None] ^ rows.codes[None]).sum(axis=2, dtype=np.int64)
            self.bars = self.block.arrays["limits"]
            self.bars[:] = -np.sort(self.scores, axis=1)[:, -3]
        else:
            self.block = Block(rows, values=values, **more)
            self.scores = values.astype(np.int64) @ (2 * bits_of(rows.codes) - 1).T
            self.bars = self.block.arrays["lows"]
            self.bars[:] = np.sort(self.scores * rows.corrections, axis=1)[:, -3]
        self.block.numbers["unit_rows"] = UNIT_ROWS

    def scan(self, gpu: Gpu, round_: int = 0, *, capability: tuple[int, int] = HOPPER, blocks: int = 3) -> None:
        scanner = Int8Scanner(self.words, self.symmetric, gpu.capability if gpu.captures else capability)
        kernel = scanner.kernel_on(gpu.torch_device.type)
        gpu.launcher.prepare([PREPARE_PLANES, kernel])
        gpu.launcher.launch(PREPARE_PLANES, (2, 1), self.block.address, 0)
        gpu.launcher.launch(kernel, (blocks, 1), self.block.address, round_)
        gpu.sync()

    def expected(self, pairs: NDArray[np.bool_] | None = None) -> Units:
        """Units whose bound reaches the bar, of pairs [B, rows]."""
        groups = self.rows.open_rows[::UNIT_ROWS] & (self.bound() if pairs is None else self.bound() & pairs[:, ::64])
        anchor, place = np.nonzero(groups)
        return sorted(zip(anchor.tolist(), place.tolist(), strict=True))

    def bound(self) -> NDArray[np.bool_]:
        """[B, groups]: a group's best score by the best correction, in float32, against the bar."""
        best = self.scores.reshape(len(self.scores), -1, UNIT_ROWS).max(axis=2)
        if self.symmetric:
            return np.asarray(-best <= self.bars[:, None])
        assert self.rows.corrections is not None
        corrections = self.rows.corrections.reshape(-1, UNIT_ROWS)
        sound = (np.isfinite(corrections) & (corrections >= 0)).all(axis=1)
        of_group = np.where(best >= 0, corrections.max(axis=1), corrections.min(axis=1))
        with np.errstate(invalid="ignore"):
            return np.asarray((best.astype(np.float32) * of_group >= self.bars[:, None]) | ~sound)


@both
@pytest.mark.parametrize(
    ("words", "b"), [(1, 70), (2, 64), (3, 17), (4, 1), (4, 130), (5, 15), (8, 65), (9, 3), (16, 129)]
)
def test_units_are_those_of_the_bound(gpu: Gpu, words: int, b: int, symmetric: bool) -> None:
    case = Case(random_rows(b, words, 512), random_values(b, words, b), symmetric=symmetric)
    case.scan(gpu)
    assert case.block.units() == case.expected()
    assert b <= len(case.expected()) < b * 512 // UNIT_ROWS


@both
@pytest.mark.parametrize("words", [4, 5])
def test_smaller_tiles_find_the_same(gpu: Gpu, words: int, symmetric: bool) -> None:
    case = Case(random_rows(words, words, 512), random_values(words, words, 20), symmetric=symmetric)
    case.scan(gpu, capability=AMPERE)
    assert case.block.units() == case.expected()


@both
def test_no_row_that_enters_is_missed_whatever_the_corrections(gpu: Gpu, symmetric: bool) -> None:
    rows = random_rows(8, 2)
    assert rows.corrections is not None
    rng = np.random.default_rng(8)
    strange = np.array([0.0, -0.0, -1e-3, -2.0, np.nan, np.inf, -np.inf, 1e-38, 3e38], np.float32)
    where = rng.choice(1024, 40, replace=False)
    rows.corrections[where] = rng.choice(strange, 40)
    case = Case(rows, random_values(8, 2, 30), symmetric=symmetric)
    if not symmetric:
        case.bars[:] = rng.normal(0, 2000, 30)
    case.scan(gpu)
    with np.errstate(invalid="ignore", over="ignore"):
        exact = -case.scores if symmetric else case.scores.astype(np.float32) * rows.corrections
    enters = exact <= case.bars[:, None] if symmetric else exact >= case.bars[:, None]
    anchor, row = np.nonzero(enters)
    assert set(zip(anchor.tolist(), (row // UNIT_ROWS).tolist(), strict=True)) <= set(case.block.units())
    assert case.block.units() == case.expected()


@both
def test_rounds_are_scattered_tiles_and_leave_out_closed_pages(gpu: Gpu, symmetric: bool) -> None:
    rows = random_rows(1, 2, 2048, shift=9, closed=[1])
    case = Case(rows, random_values(1, 2, 9), symmetric=symmetric)
    stride, tile_of_row = case.block.numbers["stride"], np.arange(2048) // 256
    for round_, works in enumerate([range(3), range(3, 8)]):
        case.block.set_round(round_, works.start, works.stop)
        case.scan(gpu, round_, blocks=2)
        tiles = [work * stride % 8 for work in works]
        pairs = np.broadcast_to(np.isin(tile_of_row, tiles), (9, 2048))
        assert case.block.units(round_) == case.expected(pairs)


@both
def test_works_name_tiles_and_slots(gpu: Gpu, symmetric: bool) -> None:
    slots = [3, 0, 1, -1, 2, -1, -1, -1, *[-1] * 60, 4, -1, 2]
    works = [(2, 0, 4), (0, 4, 4), (3, 0, 70), (1, 69, 2), (1, 5, 0)]
    case = Case(random_rows(2, 3), random_values(2, 3, 5), symmetric=symmetric, works=works, slot_anchors=slots)
    for round_, (first, last) in enumerate([(0, 2), (2, 5)]):
        pairs = named_pairs(works[first:last], slots, 5, 1024)
        case.block.set_round(round_, first, last)
        case.scan(gpu, round_)
        assert case.block.units(round_) == case.expected(pairs)


@both
def test_ties_of_the_bar_are_units_and_nothing_beyond_is(gpu: Gpu, symmetric: bool) -> None:
    rows = random_rows(3, 2, 256)
    assert rows.corrections is not None
    rows.codes[:] = rows.codes[0]
    rows.corrections[:] = 1.25
    case = Case(rows, random_values(3, 2, 4), symmetric=symmetric)
    if symmetric:
        case.bars[1:] += [-1, 1, 0]
        case.bars[3] = -1  # no distance may enter
    else:
        case.bars[1] = np.nextafter(case.bars[1], np.float32(np.inf))
        case.bars[2:] = -np.inf, np.inf
    case.scan(gpu)
    assert case.block.units() == [(anchor, place) for anchor in (0, 2) for place in range(4)]


def test_highest_and_lowest_values(gpu: Gpu) -> None:
    rows, values = random_rows(5, 16, 256), random_values(5, 16, 4)
    rows.codes[0], rows.codes[100] = 2**64 - 1, 0
    values[0], values[1], values[2] = 127, -128, 0
    case = Case(rows, values, symmetric=False)
    assert case.scores[:2].max(axis=1).tolist() == [1024 * 127, 1024 * 128]
    assert rows.corrections is not None
    case.bars[:3] = *(case.scores[[0, 1], [0, 100]] * rows.corrections[[0, 100]]), 0
    case.scan(gpu)
    assert {(0, 0), (1, 1), (2, 0), (2, 3)} <= set(case.block.units())
    assert case.block.units() == case.expected()


@both
def test_more_units_than_there_is_room_for_are_counted(gpu: Gpu, symmetric: bool) -> None:
    case = Case(random_rows(6, 1, 512), random_values(6, 1, 40), symmetric=symmetric)
    units = case.block.arrays["units"]
    units[:] = 2**32 - 1
    case.block.numbers["units_max"] = 100
    case.bars[:] = 64 if symmetric else -np.inf
    case.scan(gpu)
    assert case.block.arrays["unit_counts"][0] == 40 * 512 // UNIT_ROWS
    stored = [tuple(unit) for unit in units.tolist()]
    assert len(set(stored[:100])) == 100
    assert max(max(unit) for unit in stored[:100]) < 40
    assert set(stored[100:]) == {(2**32 - 1, 2**32 - 1)}


@both
@pytest.mark.parametrize("words", [1, 3, 4])
def test_planes_are_values_in_the_order_of_unpacked_bits(gpu: Gpu, words: int, symmetric: bool) -> None:
    slots = [4, -1, 0, 2, 2, -1, 3]
    values = random_values(7, words, 5)
    case = Case(random_rows(7, words, 256), values, symmetric=symmetric, slot_anchors=slots)
    planes = case.block.arrays["planes"]
    planes[:] = 77
    gpu.launcher.prepare([PREPARE_PLANES])
    gpu.launcher.launch(PREPARE_PLANES, (3, 1), case.block.address, 0)
    gpu.sync()
    wanted = np.where(values >= 0, 1, -1) if symmetric else values
    wanted = wanted.reshape(5, words, 8, 8).transpose(0, 1, 3, 2).reshape(5, -1)
    for slot, anchor in enumerate(slots):
        assert (planes[slot] == (wanted[anchor] if anchor >= 0 else 0)).all()
    assert (planes[len(slots) :] == 77).all()
