"""scan_hamming on the emulator: the units that hold a row which may enter, for any width and number of anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from cuda_emulator.emulated import EmulatedLauncher, without_compiler
from negmine_server.scan.cuda import hamming
from negmine_server.scan.cuda.hamming import probed, variants
from negmine_server.scan.cuda.variants import Variant, best_of
from numpy.typing import NDArray
from search_blocks import Block, Rows, Units, places_of

Codes = NDArray[np.uint64]
Limits = Sequence[int] | NDArray[np.int64]


def exhaustive(words: int, slots: int) -> Variant:
    return best_of(variants(words), slots)


def random_codes(rng: np.random.Generator, n: int, words: int) -> Codes:
    return rng.integers(0, 2**64, (n, words), np.uint64)


def distances(anchors: Codes, codes: Codes) -> NDArray[np.int64]:
    return np.bitwise_count(anchors[:, None] ^ codes[None]).sum(axis=2, dtype=np.int64)


def reached(anchors: Codes, rows: Rows, limits: NDArray[np.int64], pairs: NDArray[np.bool_] | None = None) -> Units:
    """The units with a row that the filter lets through, which is exact but for one bit: both terms are rounded."""
    ones = np.bitwise_count(anchors).sum(axis=1, dtype=np.int64)
    both = np.bitwise_count(anchors[:, None] & rows.codes[None]).sum(axis=2, dtype=np.int64)
    values = both - np.bitwise_count(rows.codes).sum(axis=1, dtype=np.int64) // 2
    enters = (values >= -((limits - ones) // 2)[:, None]) & (limits >= 0)[:, None] & rows.open_rows
    h = distances(anchors, rows.codes)
    assert (enters >= ((h <= limits[:, None]) & rows.open_rows)).all(), "no row is missed"
    assert not (enters & (h > limits[:, None] + 1)).any(), "one beyond the limit at most"
    if pairs is not None:
        enters &= pairs
    anchor, row = np.nonzero(enters)
    return sorted(set(zip(anchor.tolist(), places_of(rows.codes.shape[0])[row].tolist(), strict=True)))


def scan(block: Block, variant: Variant, blocks: tuple[int, int], seed: int = 0, round_: int = 0) -> None:
    launcher = EmulatedLauncher(seed)
    launcher.launch(hamming.FRAGMENTS, (2, 1), block.address, round_)
    launcher.launch(variant.kernel, blocks, block.address, round_)


def check(
    rows: Rows, anchors: Codes, limits: Sequence[int] | NDArray[np.int64], variant: Variant, seed: int = 0
) -> None:
    block = Block(rows, anchors)
    block.arrays["limits"][:] = limits
    x, y = variant.grid(anchors.shape[0], 1)
    scan(block, variant, (min(x, 2), y), seed)
    assert block.units() == reached(anchors, rows, np.asarray(limits, np.int64))


def near(rng: np.random.Generator, codes: Codes, n: int, share: float) -> Codes:
    """Codes near some of these, so that distances are of all kinds."""
    flips = rng.random((n, codes.shape[1], 64)) < share
    words = (flips * (np.uint64(1) << np.arange(64, dtype=np.uint64))).sum(axis=2, dtype=np.uint64)
    return np.asarray(codes[rng.integers(0, codes.shape[0], n)] ^ words)


def some_limits(anchors: Codes, rows: Rows, k: int) -> NDArray[np.int64]:
    """Each anchor's k-th distance, from 0 on."""
    return np.sort(distances(anchors, rows.codes), axis=1)[np.arange(anchors.shape[0]), np.arange(anchors.shape[0]) % k]


@without_compiler
@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 8, 16, 33, 64])
def test_widths(words: int) -> None:
    rng = np.random.default_rng(words)
    rows = Rows(random_codes(rng, 512, words))
    anchors = near(rng, rows.codes, 17, 0.2)
    check(rows, anchors, some_limits(anchors, rows, 9), exhaustive(words, 17))


@without_compiler
@pytest.mark.parametrize("slots", [1, 15, 16, 17, 64, 130])
def test_numbers_of_anchors(slots: int) -> None:
    rng = np.random.default_rng(slots)
    rows = Rows(random_codes(rng, 768, 4))
    anchors = near(rng, rows.codes, slots, 0.3)
    check(rows, anchors, some_limits(anchors, rows, 20), exhaustive(4, slots), seed=slots)


@without_compiler
@pytest.mark.parametrize("variant", range(len(variants(4))))
def test_variants(variant: int) -> None:
    """Warps share anchors and rows in each of them; 40 anchors leave warps without any, or take several passes."""
    rng = np.random.default_rng(variant)
    rows = Rows(random_codes(rng, 512, 4))
    anchors = near(rng, rows.codes, 40, 0.3)
    check(rows, anchors, some_limits(anchors, rows, 20), variants(4)[variant])


@without_compiler
def test_variants_of_wide_codes() -> None:
    rng = np.random.default_rng(8)
    rows = Rows(random_codes(rng, 256, 8))
    anchors = near(rng, rows.codes, 70, 0.3)
    for variant in variants(8)[2:5]:
        check(rows, anchors, some_limits(anchors, rows, 20), variant)


@without_compiler
def test_limits_of_nothing_and_of_everything() -> None:
    rng = np.random.default_rng(3)
    rows = Rows(np.r_[random_codes(rng, 250, 2), np.zeros((3, 2), np.uint64), np.full((3, 2), 2**64 - 1, np.uint64)])
    anchors = np.r_[rows.codes[:3], np.zeros((3, 2), np.uint64), np.full((3, 2), 2**64 - 1, np.uint64)]
    for limits in ([-1] * 9, [0] * 9, [128] * 9, [-1, 0, 128] * 3):
        check(rows, anchors, limits, exhaustive(2, 9))


@without_compiler
def test_ties_at_the_limit_are_units() -> None:
    """Half of the rows are the anchor with one bit flipped; a limit of 1 takes them all, and 0 no even row."""
    code = np.full((1, 4), 0x5555555555555555, np.uint64)
    rows = Rows(np.where(np.arange(256)[:, None] % 2 == 0, code ^ np.uint64(1), ~code))
    for limit in (0, 1, 2):
        check(rows, code, [limit], exhaustive(4, 1))


@without_compiler
def test_closed_pages_are_passed_over() -> None:
    """More steps than the ring has stages, and of every kind; pages of two tiles, in a scattered order."""
    rng = np.random.default_rng(4)
    rows = Rows(random_codes(rng, 512 * 7, 1), shift=9, closed=[0, 3, 6])
    anchors = near(rng, rows.codes, 20, 0.1)
    check(rows, anchors, some_limits(anchors, rows, 30), exhaustive(1, 20))
    rows.closed = range(7)
    check(rows, anchors, [64] * 20, exhaustive(1, 20))


@without_compiler
def test_rounds_scan_their_own_works() -> None:
    rng = np.random.default_rng(5)
    rows = Rows(random_codes(rng, 256 * 11, 1))
    anchors = near(rng, rows.codes, 5, 0.2)
    limits = np.full(5, 24)
    block = Block(rows, anchors)
    block.arrays["limits"][:] = limits
    variant = exhaustive(1, 5)
    found: Units = []
    for i, (first, last) in enumerate([(0, 1), (1, 4), (4, 4), (4, 11)]):
        block.set_round(i, first, last)
        scan(block, variant, (3, 1), round_=i)
        tiles = np.arange(first, last) * block.numbers["stride"] % 11
        assert {place // 16 for _, place in block.units(i)} <= set(tiles.tolist())
        found += block.units(i)
    assert sorted(found) == reached(anchors, rows, limits)


@without_compiler
@pytest.mark.parametrize("words", [1, 4, 8])
def test_works_name_tiles_and_slots(words: int) -> None:
    """Anchors stand in several steps, padding never hits, and no slot of another work is scanned."""
    rng = np.random.default_rng(6)
    rows = Rows(random_codes(rng, 256 * 5, words), closed=[3])
    anchors = near(rng, rows.codes, 40, 0.2)
    steps = [rng.permutation(40)[:n] for n in (3, 16, 40)]
    slot_anchors: list[int] = []
    spans = []
    for step in steps:
        spans.append((len(slot_anchors), -(-len(step) // 16) * 16))
        slot_anchors += [*step.tolist(), *[-1] * (-len(step) % 16)]
    of_steps = [(0, 0), (2, 0), (3, 0), (1, 1), (2, 2), (2, 1), (3, 1), (4, 2), (0, 2), (0, 1)] * 5
    works = list(dict.fromkeys((tile, *spans[step]) for tile, step in of_steps))
    pairs = np.zeros((40, 256 * 5), bool)
    for tile, step in of_steps:
        pairs[steps[step], tile * 256 : (tile + 1) * 256] = True
    limits = some_limits(anchors, rows, 40)
    block = Block(rows, anchors, works=works, slot_anchors=slot_anchors)
    block.arrays["limits"][:] = limits
    scan(block, probed(words), (2, 1))
    # An anchor may be in two steps of a tile, and is then told of twice.
    assert sorted(set(_units(block))) == reached(anchors, rows, limits, pairs)


def _units(block: Block) -> Units:
    count = int(block.arrays["unit_counts"][0])
    return [(int(anchor), int(place)) for anchor, place in block.arrays["units"][:count]]


@without_compiler
def test_units_that_do_not_fit_are_counted() -> None:
    rng = np.random.default_rng(7)
    rows = Rows(random_codes(rng, 512, 1))
    block = Block(rows, rows.codes[:9], units_max=10)
    block.arrays["limits"][:] = 64
    guard = block.arrays["units"]
    scan(block, exhaustive(1, 9), (2, 1))
    assert block.arrays["unit_counts"][0] == 9 * 32
    assert len({tuple(unit) for unit in guard.tolist()}) == 10


def test_a_variant_for_every_number_of_anchors() -> None:
    for words in range(1, 65):
        slots = [variant.slots for variant in variants(words)]
        assert slots == sorted(slots)
        for b in (1, 16, 17, 100, 1000, 5000):
            x, passes = exhaustive(words, b).grid(b, 132)
            assert passes * exhaustive(words, b).slots >= b
            assert x * passes <= max(132 * exhaustive(words, b).blocks, passes)
        assert probed(words).slots % hamming.FRAGMENT == 0
    assert exhaustive(4, 1024).grid(1024, 132) == (264, 1)
