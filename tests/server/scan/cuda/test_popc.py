"""scan_popc on the emulator: exactly the units that hold a row within the limit, for any width and any anchors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from cuda_emulator.emulated import EmulatedLauncher, without_compiler
from negmine_server.scan.cuda.popc import probed, variants
from negmine_server.scan.cuda.variants import Variant, best_of
from numpy.typing import NDArray
from search_blocks import Block, Rows, Units, named_pairs, places_of

pytestmark = without_compiler
Codes = NDArray[np.uint64]


def random_codes(rng: np.random.Generator, n: int, words: int) -> Codes:
    return rng.integers(0, 2**64, (n, words), np.uint64)


def distances(anchors: Codes, codes: Codes) -> NDArray[np.int64]:
    return np.bitwise_count(anchors[:, None] ^ codes[None]).sum(axis=2, dtype=np.int64)


def within(anchors: Codes, rows: Rows, limits: NDArray[np.int64], pairs: NDArray[np.bool_] | None = None) -> Units:
    enters = (distances(anchors, rows.codes) <= limits[:, None]) & rows.open_rows
    anchor, row = np.nonzero(enters if pairs is None else enters & pairs)
    return sorted(set(zip(anchor.tolist(), places_of(rows.codes.shape[0])[row].tolist(), strict=True)))


def some_limits(anchors: Codes, rows: Rows, k: int) -> NDArray[np.int64]:
    """Each anchor's k-th distance, from 0 on: a tie at the limit."""
    return np.sort(distances(anchors, rows.codes), axis=1)[np.arange(anchors.shape[0]), np.arange(anchors.shape[0]) % k]


def check(rows: Rows, anchors: Codes, limits: Sequence[int] | NDArray[np.int64], variant: Variant) -> None:
    block = Block(rows, anchors)
    block.arrays["limits"][:] = limits
    x, y = variant.grid(anchors.shape[0], 1)
    EmulatedLauncher(seed=anchors.shape[0]).launch(variant.kernel, (min(x, 2), y), block.address, 0)
    assert block.units() == within(anchors, rows, np.asarray(limits, np.int64))


@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 8, 13, 16, 33, 64])
def test_widths(words: int) -> None:
    rng = np.random.default_rng(words)
    rows = Rows(random_codes(rng, 512, words))
    anchors = random_codes(rng, 17, words)
    check(rows, anchors, some_limits(anchors, rows, 9), variants(words)[-1])


@pytest.mark.parametrize("slots", [1, 3, 16, 21, 65, 257])
def test_numbers_of_anchors(slots: int) -> None:
    """In several passes too, the last of which has few."""
    rng = np.random.default_rng(slots)
    rows = Rows(random_codes(rng, 768, 4))
    anchors = random_codes(rng, slots, 4)
    check(rows, anchors, some_limits(anchors, rows, 20), best_of(variants(4), slots))


@pytest.mark.parametrize("words", [4, 8])
def test_variants(words: int) -> None:
    rng = np.random.default_rng(words)
    rows = Rows(random_codes(rng, 512, words))
    anchors = random_codes(rng, 40, words)
    for variant in variants(words):
        check(rows, anchors, some_limits(anchors, rows, 20), variant)


def test_limits_of_nothing_and_of_everything() -> None:
    rng = np.random.default_rng(3)
    rows = Rows(np.r_[random_codes(rng, 250, 2), np.zeros((3, 2), np.uint64), np.full((3, 2), 2**64 - 1, np.uint64)])
    anchors = np.r_[rows.codes[:3], np.zeros((3, 2), np.uint64), np.full((3, 2), 2**64 - 1, np.uint64)]
    for limits in ([-1] * 9, [0] * 9, [127] * 9, [128] * 9, [-1, 0, 128] * 3):
        check(rows, anchors, limits, best_of(variants(2), 9))


@pytest.mark.parametrize("words", [1, 2, 4])
def test_every_bit_counts_once(words: int) -> None:
    """Rows at each distance from the anchor, with ever more bits of every place; a limit for each of them."""
    bits = np.tri(256, 64 * words, dtype=np.uint8)[:, np.random.default_rng(words).permutation(64 * words)]
    rows = Rows(np.ascontiguousarray(np.packbits(bits, axis=1, bitorder="little")).view(np.uint64))
    anchors = np.zeros((64, words), np.uint64)
    anchors[1::2] = 2**64 - 1
    check(rows, anchors, np.arange(64) * words, variants(words)[2])


def test_rounds_and_closed_pages() -> None:
    rng = np.random.default_rng(4)
    rows = Rows(random_codes(rng, 512 * 7, 1), shift=9, closed=[0, 3, 6])
    anchors = random_codes(rng, 20, 1)
    limits = some_limits(anchors, rows, 30)
    block = Block(rows, anchors)
    block.arrays["limits"][:] = limits
    found: Units = []
    for i, (first, last) in enumerate([(0, 1), (1, 1), (1, 14)]):
        block.set_round(i, first, last)
        EmulatedLauncher().launch(variants(1)[2].kernel, (3, 1), block.address, i)
        found += block.units(i)
    assert sorted(found) == within(anchors, rows, limits)


@pytest.mark.parametrize("words", [1, 8, 17])
def test_works_name_tiles_and_slots(words: int) -> None:
    rng = np.random.default_rng(6)
    rows = Rows(random_codes(rng, 256 * 5, words), closed=[3])
    anchors = random_codes(rng, 24, words)
    slot_anchors = [*range(12), -1, -1, -1, -1, *range(12, 24)]
    works = [(0, 0, 12), (2, 0, 16), (3, 0, 16), (1, 16, 12), (2, 16, 8), (4, 4, 4), (4, 20, 8)]
    pairs = named_pairs(works, slot_anchors, 24, 256 * 5)
    limits = some_limits(anchors, rows, 40)
    block = Block(rows, anchors, works=works, slot_anchors=slot_anchors)
    block.arrays["limits"][:] = limits
    EmulatedLauncher().launch(probed(words).kernel, (2, 1), block.address, 0)
    assert block.units() == within(anchors, rows, limits, pairs)


def test_units_that_do_not_fit_are_counted() -> None:
    rng = np.random.default_rng(7)
    rows = Rows(random_codes(rng, 512, 1))
    block = Block(rows, rows.codes[:9], units_max=10)
    block.arrays["limits"][:] = 64
    EmulatedLauncher().launch(variants(1)[1].kernel, (2, 1), block.address, 0)
    assert block.arrays["unit_counts"][0] == 9 * 32
    assert len({tuple(unit) for unit in block.arrays["units"].tolist()}) == 10


@pytest.mark.parametrize("words", range(1, 65))
def test_every_width_has_variants(words: int) -> None:
    """Blocks for one anchor and for many, that fit a multiprocessor with 228 KiB of shared memory, and a probed one."""
    for variant in (*variants(words), probed(words)):
        assert variant.blocks >= 1
        assert variant.blocks * (variant.kernel.shared_bytes + (3 << 10)) <= 228 << 10
    assert variants(words)[0].slots <= 16
    assert words > 30 or max(variant.kernel.shared_bytes for variant in variants(words)) <= 60 << 10
