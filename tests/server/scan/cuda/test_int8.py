"""The int8 scanner against numpy: in Triton's interpreter where there is no device, compiled where there is one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from negmine_server.scan.cuda.block import ROUND, ROUNDS_MAX, SEARCH, TILE_ROWS, WORK, ScoringCode
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

ON_DEVICE = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if ON_DEVICE else torch.device("cpu")
with pytest.MonkeyPatch.context() as patch:
    if not ON_DEVICE:
        patch.setenv("TRITON_INTERPRET", "1")  # read where kernels are declared, Triton's own among them
    pytest.importorskip("triton")
    from negmine_server.scan.cuda import int8, int8_kernel

from cuda_emulator.emulated import EmulatedLauncher, without_compiler

PAGE_ROWS = 512
NO_UNIT = (-1, -1)


@pytest.fixture(autouse=True)
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    if not ON_DEVICE:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


@dataclass
class Rows:
    """Pages of random rows; those in `closed` are not there."""

    codes: NDArray[np.uint8]  # [n, 8 · words]
    corrections: NDArray[np.float32]
    closed: set[int] = field(default_factory=set)

    @classmethod
    def random(cls, rng: np.random.Generator, words: int, pages: int) -> Rows:
        n = pages * PAGE_ROWS
        codes = rng.integers(0, 256, (n, 8 * words)).astype(np.uint8)
        return cls(codes, rng.uniform(0.5, 2.0, n).astype(np.float32))

    @property
    def bits(self) -> NDArray[np.int64]:
        return np.unpackbits(self.codes, axis=1, bitorder="little").astype(np.int64)

    @property
    def open(self) -> NDArray[np.bool_]:
        return ~np.isin(np.arange(len(self.codes)) // PAGE_ROWS, list(self.closed))


@dataclass
class Case:
    """A search as the scanner sees it."""

    rows: Rows
    symmetric: bool
    anchors: NDArray[Any]  # int8 [B, 64 · words]
    bars: NDArray[Any]  # limits or lows [B]
    slots: NDArray[np.int32]
    rounds: list[tuple[int, int]]
    works: list[tuple[int, int, int]] | None = None  # tile, first slot, slots
    units_max: int = 1 << 16
    stride: int = 1

    def __post_init__(self) -> None:
        self.kept: list[Any] = []
        self.units = self.put(np.full((self.units_max + 1, 2), NO_UNIT, np.int32))
        self.counts = self.put(np.zeros(ROUNDS_MAX, np.int32))

    @property
    def words(self) -> int:
        return self.rows.codes.shape[1] // 8

    @property
    def signs(self) -> NDArray[np.uint8]:
        """Codes of the anchors, padded."""
        packed = np.packbits(self.anchors > 0, axis=1, bitorder="little")
        return np.pad(packed, ((0, 0), (0, -packed.shape[1] % 16)))

    @property
    def planes(self) -> NDArray[np.int8]:
        """As `prepare_planes` makes them."""
        b, k = self.anchors.shape
        values = np.vstack([self.anchors, np.zeros((1, k), np.int8)])[self.slots]
        return values.reshape(-1, self.words, 8, 8).transpose(0, 1, 3, 2).reshape(-1, k)

    def put(self, array: NDArray[Any]) -> Any:
        """The array where kernels find it; it stays there as long as the case."""
        self.kept.append(torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE))
        return self.kept[-1]

    def block(self) -> Any:
        row_bytes = (8 * self.words + 15) // 16 * 16
        directory = np.zeros((12, len(self.rows.codes) // PAGE_ROWS), np.uint64)
        for page in set(range(directory.shape[1])) - self.rows.closed:
            part = slice(page * PAGE_ROWS, (page + 1) * PAGE_ROWS)
            codes = np.zeros((PAGE_ROWS, row_bytes), np.uint8)
            codes[:, : 8 * self.words] = self.rows.codes[part]
            directory[4, page] = self.put(codes).data_ptr()
            directory[3, page] = self.put(self.rows.corrections[part]).data_ptr()
        rounds = np.zeros(ROUNDS_MAX, ROUND)
        rounds[: len(self.rounds)] = self.rounds
        arrays = {
            "directory": directory.view(np.int64),
            "rounds": rounds.view(np.int32),
            "slot_anchors": self.slots,
            "codes": self.signs,
            "values": self.anchors,
            "planes": self.planes,
            "ones": (self.anchors > 0).sum(axis=1).astype(np.int32),
            "totals": self.anchors.sum(axis=1, dtype=np.int32),
            "limits" if self.symmetric else "lows": self.bars,
        }
        if self.works is not None:
            works = np.zeros(len(self.works), WORK)
            works["tile"], works["first_slot"], works["slots"] = np.array(self.works).T
            arrays["works"] = works.view(np.int32)
        search = np.zeros(1, SEARCH)
        for name, array in arrays.items():
            search[name] = self.put(array).data_ptr()
        search["units"], search["unit_counts"] = self.units.data_ptr(), self.counts.data_ptr()
        search["page_slots"], search["page_shift"] = directory.shape[1], PAGE_ROWS.bit_length() - 1
        search["tiles"], search["stride"] = len(self.rows.codes) // TILE_ROWS, self.stride
        search["anchors"], search["slots"], search["units_max"] = len(self.anchors), len(self.slots), self.units_max
        search["words"], search["row_bytes"] = self.words, row_bytes
        search["scoring"] = ScoringCode.SYMMETRIC if self.symmetric else ScoringCode.ASYMMETRIC
        return self.put(search.view(np.uint8))

    def scan(self, number: int, capability: tuple[int, int] = (9, 0), programs: int = 3) -> int:
        """Runs the round; how many units it found."""
        block = self.block()
        if ON_DEVICE:
            launch(int8.Int8Scanner(self.words, self.symmetric, torch.cuda.get_device_capability()).compiled(), block)
        else:
            constants = {**int8.Int8Scanner(self.words, self.symmetric, capability).constants, "plain": True}
            int8_kernel.scan[(programs,)](block.data_ptr(), number, **constants)
        return int(self.counts[number])

    def found(self, number: int) -> list[tuple[int, int]]:
        return sorted((int(a), int(p)) for a, p in self.units[: int(self.counts[number])].cpu())

    def expected(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Units of these pairs of tile and slot, by the definition of the bound."""
        dots = self.rows.bits @ self.anchors.T.astype(np.int64)
        units = []
        for tile, slot in pairs:
            anchor = int(self.slots[slot])
            for place in range(tile * 4, tile * 4 + 4):
                rows = slice(64 * place, 64 * place + 64)
                if anchor >= 0 and self.rows.open[rows].all() and self._enters(dots[rows, anchor], rows, anchor):
                    units.append((anchor, place))
        return sorted(units)

    def _enters(self, accumulated: NDArray[np.int64], rows: slice, anchor: int) -> bool:
        if self.symmetric:
            distances = (self.anchors[anchor] > 0).sum() - accumulated
            return bool(distances.min() <= self.bars[anchor])
        corrections = self.rows.corrections[rows]
        if not (np.isfinite(corrections).all() and (corrections >= 0).all()):
            return True
        dot = np.float32(2 * accumulated.max() - self.anchors[anchor].sum(dtype=np.int64))
        return bool(dot * (corrections.max() if dot >= 0 else corrections.min()) >= self.bars[anchor])

    def everything(self, tiles: int | None = None) -> list[tuple[int, int]]:
        tiles = len(self.rows.codes) // TILE_ROWS if tiles is None else tiles
        return [(tile, slot) for tile in range(tiles) for slot in range(len(self.slots))]


def launch(kernel: Any, block: Any, number: int = 0) -> None:
    if ON_DEVICE:
        from negmine_server.device.launcher import NvrtcLauncher

        launcher: Any = NvrtcLauncher(DEVICE)
    else:
        launcher = EmulatedLauncher()
    launcher.prepare([kernel])
    launcher.launch(kernel, (3, 1), block.data_ptr(), number)
    if ON_DEVICE:
        torch.cuda.synchronize()


def made(seed: int, words: int, b: int, *, symmetric: bool, pages: int = 2, **more: Any) -> Case:
    """Random rows and anchors with bars that some tens of the rows reach."""
    rng = np.random.default_rng(seed)
    rows = more.pop("rows", None) or Rows.random(rng, words, pages)
    bits = rows.bits
    k = bits.shape[1]
    anchors = rng.integers(-128, 128, (b, k)).astype(np.int8)
    if symmetric:
        anchors = np.where(anchors >= 0, 1, -1).astype(np.int8)
        distances = (anchors > 0).sum(axis=1) - bits @ anchors.T.astype(np.int64)
        bars: NDArray[Any] = np.sort(distances, axis=0)[10].astype(np.int32)
    else:
        scores = ((2 * bits - 1) @ anchors.T.astype(np.int64)) * rows.corrections[:, None]
        bars = np.sort(scores, axis=0)[-10].astype(np.float32)
    tiles = len(rows.codes) // TILE_ROWS
    defaults: dict[str, Any] = {"slots": np.arange(b, dtype=np.int32), "rounds": [(0, tiles)]}
    return Case(rows, symmetric, anchors, bars, **{**defaults, **more})


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("words", "b"), [(1, 70), (2, 64), (3, 17), (4, 1), (4, 200), (5, 15), (8, 64), (16, 130), (9, 3)]
)
def test_units_are_those_of_the_bound(words: int, b: int, symmetric: bool) -> None:
    case = made(words, words, b, symmetric=symmetric)
    n = case.scan(0)
    expected = case.expected(case.everything())
    assert b <= n < b * 2 * PAGE_ROWS // 64
    assert case.found(0) == expected


@pytest.mark.parametrize("words", [4, 5])
def test_units_of_smaller_tiles(words: int) -> None:
    for symmetric in (False, True):
        case = made(words, words, 20, symmetric=symmetric)
        case.scan(0, capability=(8, 0))
        assert case.found(0) == case.expected(case.everything())


@pytest.mark.parametrize("symmetric", [False, True])
def test_rounds_are_scattered_tiles_and_leave_out_closed_pages(symmetric: bool) -> None:
    case = made(1, 2, 9, symmetric=symmetric, pages=4, rounds=[(0, 3), (3, 8)], stride=3)
    case.rows.closed = {1}
    for number, works in enumerate([range(3), range(3, 8)]):
        pairs = [(3 * work % 8, slot) for work in works for slot in range(9)]
        case.scan(number, programs=2)
        assert case.found(number) == case.expected(pairs)


@pytest.mark.parametrize("symmetric", [False, True])
def test_works_name_tiles_and_slots(symmetric: bool) -> None:
    slots = np.array([3, 0, 1, -1, 2, 3, -1, -1, 4, 0] + [-1] * 60 + [1, 2], np.int32)
    works = [(2, 0, 4), (0, 4, 4), (3, 8, 2), (1, 10, 4), (1, 0, 72), (2, 70, 2), (3, 5, 0)]
    case = made(2, 3, 5, symmetric=symmetric, slots=slots, works=works, rounds=[(0, 2), (2, 7)])
    for number, part in enumerate([works[:2], works[2:]]):
        pairs = [(tile, slot) for tile, first, count in part for slot in range(first, first + count)]
        case.scan(number)
        assert case.found(number) == case.expected(pairs)


def test_ties_of_the_bar_are_units_and_no_limit_lets_nothing_in() -> None:
    rng = np.random.default_rng(3)
    rows = Rows.random(rng, 2, 1)
    rows.codes[:] = rows.codes[0]
    rows.corrections[:] = 1.25
    case = made(3, 2, 3, symmetric=True, rows=rows)
    case.bars[1] -= 1
    case.bars[2] = -1
    assert case.scan(0) == PAGE_ROWS // 64
    assert {anchor for anchor, _ in case.found(0)} == {0}
    case = made(3, 2, 3, symmetric=False, rows=rows)
    case.bars[1] = np.nextafter(case.bars[1], np.float32(np.inf))
    case.bars[2] = -np.inf
    assert case.scan(0) == 2 * PAGE_ROWS // 64
    assert {anchor for anchor, _ in case.found(0)} == {0, 2}


def test_corrections_that_bound_nothing_make_units() -> None:
    rng = np.random.default_rng(4)
    rows = Rows.random(rng, 1, 1)
    rows.corrections[[3, 70, 200]] = [-1e-3, np.nan, np.inf]
    rows.corrections[300], rows.corrections[64 * 5 : 64 * 6], rows.corrections[64 * 6 :] = -np.inf, 0.0, -0.0
    case = made(4, 1, 20, symmetric=False, rows=Rows(rows.codes, np.abs(np.nan_to_num(rows.corrections, posinf=0))))
    case.rows = rows
    case.bars[:10] = np.inf
    case.bars[10] = 0.0
    case.slots = np.append(case.slots, -1).astype(np.int32)
    case.scan(0)
    assert {(anchor, place) for anchor in range(20) for place in (0, 1, 3, 4)} <= set(case.found(0))
    assert {(10, place) for place in (5, 6, 7)} <= set(case.found(0))
    with np.errstate(invalid="ignore"):
        assert case.found(0) == case.expected(case.everything())


def test_highest_and_lowest_values() -> None:
    rows = Rows.random(np.random.default_rng(5), 16, 1)
    rows.codes[0], rows.codes[100] = 255, 0
    case = made(5, 16, 3, symmetric=False, rows=rows)
    case.anchors[0], case.anchors[1] = 127, -128
    case.bars[:2] = np.float32([1024 * 127, 1024 * 128]) * rows.corrections[[0, 100]]
    case.scan(0)
    assert {(0, 0), (1, 1)} <= set(case.found(0))
    assert case.found(0) == case.expected(case.everything())


@pytest.mark.parametrize("symmetric", [False, True])
def test_more_units_than_there_is_room_for_are_counted(symmetric: bool) -> None:
    case = made(6, 1, 40, symmetric=symmetric, units_max=100)
    case.bars[:] = 64 if symmetric else -np.inf
    assert case.scan(0) == 40 * 2 * PAGE_ROWS // 64
    stored = [tuple(unit) for unit in case.units.tolist()]
    assert len(set(stored[:100])) == 100
    assert NO_UNIT not in stored[:100]
    assert stored[100] == NO_UNIT


@without_compiler
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("words", [1, 3, 4])
def test_planes_are_values_in_the_order_of_unpacked_bits(words: int, symmetric: bool) -> None:
    case = made(7, words, 5, symmetric=symmetric, slots=np.array([4, -1, 0, 2, 2, -1, 3], np.int32))
    expected = case.planes
    block = case.block()
    made_here = case.put(np.full_like(expected, 77))
    search = block.cpu().numpy().copy().view(SEARCH)
    search["planes"] = made_here.data_ptr()
    launch(int8.PREPARE_PLANES, case.put(search.view(np.uint8)))
    assert (made_here.cpu().numpy() == expected).all()
