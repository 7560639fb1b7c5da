"""scan_planes on the emulator: exactly the units that hold a row whose dot · correction reaches the anchor's low."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_emulator.emulated import EmulatedLauncher, without_compiler
from negmine_server.scan.cuda.planes import PLANES, layout, probed, variants
from negmine_server.scan.cuda.variants import Variant, best_of
from numpy.typing import NDArray
from search_blocks import Block, Rows, Units, named_pairs, places_of

pytestmark = without_compiler
Values = NDArray[np.int8]


def random_rows(rng: np.random.Generator, n: int, words: int, **more: object) -> Rows:
    corrections = rng.uniform(0.5, 2, n).astype(np.float32)
    return Rows(rng.integers(0, 2**64, (n, words), np.uint64), corrections=corrections, **more)  # type: ignore[arg-type]


def random_values(rng: np.random.Generator, b: int, words: int, planes: int = PLANES) -> Values:
    return rng.integers(-(1 << planes - 1), 1 << planes - 1, (b, 64 * words), np.int8)


def products(values: Values, rows: Rows) -> NDArray[np.float32]:
    bits = np.unpackbits(rows.codes.view(np.uint8), axis=1, bitorder="little")
    assert rows.corrections is not None
    with np.errstate(invalid="ignore", over="ignore"):
        return (values.astype(np.int64) @ (2 * bits.T.astype(np.int64) - 1)).astype(np.float32) * rows.corrections


def reaching(values: Values, rows: Rows, lows: NDArray[np.float32], pairs: NDArray[np.bool_] | None = None) -> Units:
    enters = ~(products(values, rows) < lows[:, None]) & rows.open_rows
    anchor, row = np.nonzero(enters if pairs is None else enters & pairs)
    return sorted(set(zip(anchor.tolist(), places_of(rows.codes.shape[0])[row].tolist(), strict=True)))


def some_lows(values: Values, rows: Rows, k: int) -> NDArray[np.float32]:
    """Each anchor's k-th product, from 0 on: a tie with the low."""
    b = values.shape[0]
    return -np.sort(-products(values, rows), axis=1)[np.arange(b), np.arange(b) % k]


def scan(block: Block, variant: Variant, blocks: tuple[int, int], planes: int = PLANES, round_: int = 0) -> None:
    launcher = EmulatedLauncher(seed=blocks[1] - 1)
    launcher.launch(layout(block.numbers["words"], planes), (2, 1), block.address, 0)
    launcher.launch(variant.kernel, blocks, block.address, round_)


def check(rows: Rows, values: Values, lows: NDArray[np.float32], variant: Variant, planes: int = PLANES) -> None:
    block = Block(rows, values=values)
    block.arrays["lows"][:] = lows
    x, y = variant.grid(values.shape[0], 1)
    scan(block, variant, (min(x, 2), y), planes)
    assert block.units() == reaching(values, rows, lows)


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 8, 13, 33, 64])
def test_widths(words: int) -> None:
    rng = np.random.default_rng(words)
    rows, values = random_rows(rng, 512, words), random_values(rng, 9, words)
    check(rows, values, some_lows(values, rows, 9), variants(words)[0])


@pytest.mark.parametrize("slots", [1, 3, 16, 65, 257])
def test_numbers_of_anchors(slots: int) -> None:
    """In several passes too, the last of which has few."""
    rng = np.random.default_rng(slots)
    rows, values = random_rows(rng, 512, 2), random_values(rng, slots, 2)
    check(rows, values, some_lows(values, rows, 20), best_of(variants(2), slots))


@pytest.mark.parametrize("words", [4, 6])
@pytest.mark.parametrize("planes", [4, 8])
def test_variants(words: int, planes: int) -> None:
    """Four planes hold values of four bits."""
    rng = np.random.default_rng(words)
    rows, values = random_rows(rng, 512, words), random_values(rng, 40, words, planes)
    for variant in variants(words, planes):
        check(rows, values, some_lows(values, rows, 20), variant, planes)


def test_highest_and_lowest_values() -> None:
    rng = np.random.default_rng(5)
    rows, values = random_rows(rng, 256, 16), random_values(rng, 4, 16)
    rows.codes[0], rows.codes[100] = 2**64 - 1, 0
    values[0], values[1], values[2] = 127, -128, 0
    found = products(values, rows)
    lows = np.array([found[0, 0], found[1, 100], 0, np.inf], np.float32)
    assert [found[0].argmax(), found[1].argmax()] == [0, 100]
    check(rows, values, lows, variants(16)[0])


def test_corrections_of_any_kind() -> None:
    rng = np.random.default_rng(8)
    rows, values = random_rows(rng, 1024, 2), random_values(rng, 30, 2)
    assert rows.corrections is not None
    strange = np.array([0.0, -0.0, -1e-3, -2.0, np.nan, np.inf, -np.inf, 1e-38, 3e38], np.float32)
    rows.corrections[rng.choice(1024, 40, replace=False)] = rng.choice(strange, 40)
    lows = rng.normal(0, 2000, 30).astype(np.float32)
    lows[:3] = -np.inf, np.inf, 0
    check(rows, values, lows, variants(2)[1])


def test_rounds_and_closed_pages() -> None:
    rng = np.random.default_rng(4)
    rows, values = random_rows(rng, 512 * 7, 1, shift=9, closed=[0, 3, 6]), random_values(rng, 20, 1)
    lows = some_lows(values, rows, 30)
    block = Block(rows, values=values)
    block.arrays["lows"][:] = lows
    found: Units = []
    for i, (first, last) in enumerate([(0, 1), (1, 1), (1, 14)]):
        block.set_round(i, first, last)
        scan(block, variants(1)[2], (3, 1), round_=i)
        found += block.units(i)
    assert sorted(found) == reaching(values, rows, lows)


@pytest.mark.parametrize("words", [1, 8, 17])
def test_works_name_tiles_and_slots(words: int) -> None:
    rng = np.random.default_rng(6)
    rows, values = random_rows(rng, 256 * 5, words, closed=[3]), random_values(rng, 24, words)
    slot_anchors = [*range(12), -1, -1, -1, -1, *range(12, 24)]
    works = [(0, 0, 12), (2, 0, 16), (3, 0, 16), (1, 16, 12), (2, 16, 8), (4, 4, 4), (4, 20, 8)]
    pairs = named_pairs(works, slot_anchors, 24, 256 * 5)
    lows = some_lows(values, rows, 40)
    block = Block(rows, values=values, works=works, slot_anchors=slot_anchors)
    block.arrays["lows"][:] = lows
    scan(block, probed(words), (2, 1))
    assert block.units() == reaching(values, rows, lows, pairs)


@pytest.mark.parametrize("planes", [4, 8])
def test_planes_lie_slot_by_slot(planes: int) -> None:
    """planes[p][word][slot] are bits p of 32 values, 0 for padding, and nothing beyond is written."""
    slot_anchors = [4, -1, 0, 2, 2, -1, 3]
    rng = np.random.default_rng(7)
    values = random_values(rng, 5, 3, planes)
    block = Block(random_rows(rng, 256, 3), values=values, slot_anchors=slot_anchors)
    memory = block.arrays["planes"].reshape(-1).view(np.uint32)
    memory[:] = 77
    EmulatedLauncher().launch(layout(3, planes), (3, 1), block.address, 0)
    size = planes * 6 * len(slot_anchors)
    found = memory[:size].reshape(planes, 6, len(slot_anchors))
    for slot, anchor in enumerate(slot_anchors):
        for p in range(planes):
            bits = (values[anchor] >> p & 1) * (anchor >= 0)
            assert (found[p, :, slot] == np.packbits(bits.astype(np.uint8), bitorder="little").view(np.uint32)).all()
    assert (memory[size:] == 77).all()


@pytest.mark.parametrize("words", range(1, 65))
def test_every_width_has_variants(words: int) -> None:
    """Blocks for one anchor and for many, that fit a multiprocessor with 228 KiB of shared memory, and a probed one."""
    for variant in (*variants(words), probed(words)):
        assert variant.blocks >= 1
        assert variant.blocks * (variant.kernel.shared_bytes + (3 << 10)) <= 228 << 10
        assert words > 30 or variant.kernel.shared_bytes <= 61 << 10
    assert variants(words)[0].slots <= 16
