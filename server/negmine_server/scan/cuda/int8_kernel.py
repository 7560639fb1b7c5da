"""The Triton kernel of `int8`.

The matrix of scores stays in registers. A tile of rows is unpacked once for all anchors of a work where it fits in
shared memory (`resident`); wider codes are unpacked again for every tile of anchors, some words at a time.

No address is an argument, so that one compiled kernel, and a captured launch of it, serves whatever the block says.
"""

# ruff: noqa: ANN001, ANN201, ANN202 (types are Triton's)
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from negmine_server.scan.cuda.block import SEARCH, TILE_ROWS

UNIT_ROWS = tl.constexpr(64)


def _place(field: str) -> tl.constexpr:
    """Where a field stands in the block."""
    return tl.constexpr(int(SEARCH.fields[field][1]))


_DIRECTORY, _PAGE_SLOTS, _PAGE_SHIFT = _place("directory"), _place("page_slots"), _place("page_shift")
_ROUNDS, _WORKS, _TILES, _STRIDE = _place("rounds"), _place("works"), _place("tiles"), _place("stride")
_SLOTS, _SLOT_ANCHORS, _PLANES = _place("slots"), _place("slot_anchors"), _place("planes")
_ONES, _LIMITS, _TOTALS, _LOWS = _place("ones"), _place("limits"), _place("totals"), _place("lows")
_UNITS, _UNITS_MAX, _UNIT_COUNTS = _place("units"), _place("units_max"), _place("unit_counts")
_PLAIN = tl.constexpr(bool(triton.knobs.runtime.interpret))  # the interpreter knows no inline assembly
_CORRECTIONS, _CODES = tl.constexpr(3), tl.constexpr(4)  # of `Column`
_TILE_ROWS = tl.constexpr(TILE_ROWS)


@triton.jit
def _number(search, field: tl.constexpr):
    return tl.load((search + field).to(tl.pointer_type(tl.int32)))


@triton.jit
def _address(search, field: tl.constexpr):
    return tl.load((search + field).to(tl.pointer_type(tl.int64)))


@triton.jit
def _array(address, kind: tl.constexpr, aligned: tl.constexpr):
    """The array of `kind` at an address that is a multiple of `aligned` bytes."""
    return tl.multiple_of(address.to(tl.pointer_type(kind)), aligned)


@triton.jit
def _interleaved(a0, a1, a2, a3, a4, a5, a6, a7, rows: tl.constexpr, words: tl.constexpr):
    """Eight planes [rows, 8 · words] -> [rows, 64 · words]: of every word bit 0 of its eight bytes, then bit 1, …"""
    even = tl.join(tl.join(a0, a4), tl.join(a2, a6))
    odd = tl.join(tl.join(a1, a5), tl.join(a3, a7))
    bits = tl.reshape(tl.join(even, odd), (rows, words, 8, 8))
    return tl.reshape(tl.permute(bits, (0, 1, 3, 2)), (rows, 64 * words))


@triton.jit
def _unpacked(c, rows: tl.constexpr, words: tl.constexpr):
    """Bytes [rows, 8 · words] -> {0, 1} int8 [rows, 64 · words] in the order of `planes`."""
    if _PLAIN:
        a0, a1, a2, a3 = c & 1, (c >> 1) & 1, (c >> 2) & 1, (c >> 3) & 1
        a4, a5, a6, a7 = (c >> 4) & 1, (c >> 5) & 1, (c >> 6) & 1, (c >> 7) & 1
    else:  # four bytes in a register give four elements of a plane by a shift and a mask
        a0, a1, a2, a3, a4, a5, a6, a7 = tl.inline_asm_elementwise(
            """{
            .reg .b32 t;
            and.b32 $0, $8, 0x01010101;
            shr.b32 t, $8, 1; and.b32 $1, t, 0x01010101;
            shr.b32 t, $8, 2; and.b32 $2, t, 0x01010101;
            shr.b32 t, $8, 3; and.b32 $3, t, 0x01010101;
            shr.b32 t, $8, 4; and.b32 $4, t, 0x01010101;
            shr.b32 t, $8, 5; and.b32 $5, t, 0x01010101;
            shr.b32 t, $8, 6; and.b32 $6, t, 0x01010101;
            shr.b32 t, $8, 7; and.b32 $7, t, 0x01010101;
            }""",
            "=r,=r,=r,=r,=r,=r,=r,=r,r",
            [c],
            dtype=(tl.int8, tl.int8, tl.int8, tl.int8, tl.int8, tl.int8, tl.int8, tl.int8),
            is_pure=True,
            pack=4,
        )
    return _interleaved(a0, a1, a2, a3, a4, a5, a6, a7, rows, words)


@triton.jit
def _bits(codes, first, rows: tl.constexpr, row_bytes: tl.constexpr, words: tl.constexpr):
    """Words [first, first + words) of the rows, as the right side [64 · words, rows] of a product."""
    row = tl.arange(0, rows)[:, None]
    byte = 8 * first + tl.arange(0, 8 * words)[None, :]
    return tl.trans(_unpacked(tl.load(codes + row * row_bytes + byte), rows, words))


@triton.jit
def _append(search, number, hit, anchors, places, n_anchors: tl.constexpr, groups: tl.constexpr):
    """Appends the hits [anchors, groups] to the round's units, all of them by one addition."""
    flat = tl.reshape(hit, (n_anchors * groups,))
    n = tl.sum(flat, axis=0)
    if n > 0:
        units = _array(_address(search, _UNITS), tl.int64, 8)
        units_max = _number(search, _UNITS_MAX).to(tl.uint32)
        count = _array(_address(search, _UNIT_COUNTS), tl.uint32, 4) + number
        at = tl.atomic_add(count, n.to(tl.uint32), sem="relaxed") + (tl.cumsum(flat, axis=0) - flat).to(tl.uint32)
        unit = (places.to(tl.int64) << 32)[None, :] + anchors.to(tl.int64)[:, None]
        there = (flat > 0) & (at < units_max)
        tl.store(units + at.to(tl.int64), tl.reshape(unit, (n_anchors * groups,)), mask=there)


@triton.jit
def _lookups(search, symmetric: tl.constexpr):
    """What acc is subtracted from, by anchor, and what the anchor lets in."""
    if symmetric:
        sums, bars = _address(search, _ONES), _array(_address(search, _LIMITS), tl.int32, 4)
    else:
        sums, bars = _address(search, _TOTALS), _array(_address(search, _LOWS), tl.float32, 4)
    return _array(sums, tl.int32, 4), bars


@triton.jit
def _correction_ranges(corrections, rows: tl.constexpr, groups: tl.constexpr):
    """Lowest and highest correction of each group, and whether one is no bound of scores: negative or not finite."""
    correction = tl.reshape(tl.load(corrections + tl.arange(0, rows)), (groups, UNIT_ROWS))
    sound = (correction >= 0) & (correction < float("inf"))
    lowest = tl.min(tl.where(sound, correction, float("inf")), axis=1)
    highest = tl.max(tl.where(sound, correction, 0.0), axis=1)
    return lowest, highest, tl.min(sound.to(tl.int32), axis=1) == 0


@triton.jit
def _scan_rows(
    search,
    number,
    codes,
    corrections,
    first_place,
    first_slot,
    last_slot,
    words: tl.constexpr,
    symmetric: tl.constexpr,
    step: tl.constexpr,
    resident: tl.constexpr,
    n_anchors: tl.constexpr,
    rows: tl.constexpr,
):
    """Scans rows for slots [first_slot, last_slot)."""
    row_bytes: tl.constexpr = (8 * words + 15) // 16 * 16
    groups: tl.constexpr = rows // UNIT_ROWS
    sums, bars = _lookups(search, symmetric)
    slot_anchors = _array(_address(search, _SLOT_ANCHORS), tl.int32, 4)
    planes = _array(_address(search, _PLANES), tl.int8, 16)
    if not symmetric:
        lowest, highest, unbounded = _correction_ranges(corrections, rows, groups)
    right = ()
    if resident:
        for word in tl.static_range(0, words, step):
            right = right + (_bits(codes, word, rows, row_bytes, step),)  # noqa: RUF005 (Triton unpacks none)
    k = tl.arange(0, 64 * step)[None, :]
    places = first_place + tl.arange(0, groups)
    # Read one tile ahead, so that what is looked up by anchor is on its way while the product is made.
    ahead = first_slot + tl.arange(0, n_anchors)
    anchor = tl.load(slot_anchors + ahead, mask=ahead < last_slot, other=-1)
    for first in tl.range(first_slot, last_slot, n_anchors):
        slot = first + tl.arange(0, n_anchors)
        there = anchor >= 0
        total = tl.load(sums + anchor, mask=there, other=0)
        bar = tl.load(bars + anchor, mask=there, other=0)
        ahead = slot + n_anchors
        next_anchor = tl.load(slot_anchors + ahead, mask=ahead < last_slot, other=-1)
        left = planes + slot[:, None].to(tl.int64) * (64 * words) + k
        real = slot[:, None] < last_slot
        acc = tl.zeros((n_anchors, rows), tl.int32)
        if resident:
            for i in tl.static_range(words // step):
                values = tl.load(left + 64 * step * i, mask=real, other=0)
                acc = tl.dot(values, right[i], acc, out_dtype=tl.int32)
        else:
            for word in tl.range(0, words, step):
                values = tl.load(left + 64 * word, mask=real, other=0)
                acc = tl.dot(values, _bits(codes, word, rows, row_bytes, step), acc, out_dtype=tl.int32)
        best = tl.max(tl.reshape(acc, (n_anchors, groups, UNIT_ROWS)), axis=2)
        if symmetric:
            hit = total[:, None] - best <= bar[:, None]
        else:
            dot = (2 * best - total[:, None]).to(tl.float32)
            bound = dot * tl.where(dot >= 0, highest[None, :], lowest[None, :])
            hit = (bound >= bar[:, None]) | unbounded[None, :]
        hit = (hit & there[:, None]).to(tl.int32)
        _append(search, number, hit, anchor, places, n_anchors, groups)
        anchor = next_anchor


@triton.jit
def _work(search, work):
    """A work's tile, its first slot and the one after its last."""
    works = _address(search, _WORKS)
    if works == 0:
        tile = (work * _number(search, _STRIDE).to(tl.int64) % _number(search, _TILES)).to(tl.int32)
        first_slot = 0
        slots = _number(search, _SLOTS)
    else:
        entry = _array(works, tl.int32, 4) + 4 * work
        tile = tl.load(entry)
        first_slot = tl.load(entry + 1)
        slots = tl.load(entry + 2)
    return tile, first_slot, first_slot + slots


@triton.jit
def scan(
    search,
    number,
    words: tl.constexpr,
    symmetric: tl.constexpr,
    step: tl.constexpr,
    resident: tl.constexpr,
    n_anchors: tl.constexpr,
    rows: tl.constexpr,
):
    """Appends the units of a round. Any number of programs.

    Args:
        search: the address of the block.
        number: of the round.
        words: 64-bit words of a code.
        symmetric: by Hamming distance; otherwise by the anchors' values.
        step: words of a product, a power of two that divides `words`.
        resident: whether a tile of rows is unpacked once.
        n_anchors: a tile's anchors.
        rows: a tile's rows, a power of two from 64 to TILE_ROWS.
    """
    row_bytes: tl.constexpr = (8 * words + 15) // 16 * 16
    rounds = _array(_address(search, _ROUNDS), tl.int32, 4)
    first, last = tl.load(rounds + 2 * number), tl.load(rounds + 2 * number + 1)
    directory = _array(_address(search, _DIRECTORY), tl.int64, 8)
    page_slots, shift = _number(search, _PAGE_SLOTS), _number(search, _PAGE_SHIFT)
    for work in tl.range(first + tl.program_id(0), last, tl.num_programs(0)):
        tile, first_slot, last_slot = _work(search, work)
        row = tile.to(tl.int64) * _TILE_ROWS
        page = row >> shift
        place = row - (page << shift)
        codes = tl.load(directory + _CODES * page_slots + page)
        corrections = tl.load(directory + _CORRECTIONS * page_slots + page)
        if codes != 0:
            for part in tl.range(0, _TILE_ROWS, rows):
                _scan_rows(
                    search,
                    number,
                    _array(codes + (place + part) * row_bytes, tl.int8, 16),
                    _array(corrections + (place + part) * 4, tl.float32, 16),
                    (tile * _TILE_ROWS + part) // UNIT_ROWS,
                    first_slot,
                    last_slot,
                    words,
                    symmetric,
                    step,
                    resident,
                    n_anchors,
                    rows,
                )
