"""Item id -> row number, without a Python object per id.

Open-addressing tables of uint32: each entry holds a row number (plus one; 0 = empty) in its low `row_bits` and a
fingerprint of the id's hash in the rest. The ids themselves are not stored: a matching fingerprint is confirmed by the
id that the row holds, read through the pages' addresses. Four bytes an entry at a load of 0.53 to 0.8.

No step is long: bits of the hash pick one of 256 segments, each a table that grows by itself. Their sizes are
staggered, segment i taking the sizes `32 * 1.5 ** (k + i / 256)`, so that growths come one by one as ids come in and
the whole keeps a mean load of 0.65 (6.2 bytes an id) at any count. When row numbers need one more bit, segments are
widened ahead, one a call.

Linear probing; deletion shifts the cluster back, so there are no markers to collect. The home slot is
`hash >> 32` scaled to the table's size (Lemire's fast range), so the size need not be a power of two. The hash is
seeded per map: ids chosen by a client cannot be aimed at one slot.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64
from negmine_server.index.native import Scalar, as_compiled, compiled, inlined, load_i64, load_u32, prefetch, store_u32

U32 = NDArray[np.uint32]

MAX_LOAD = 0.8
GROWTH = 1.5
SEGMENTS = 256
_MIN_SIZE = 32
_MIN_ROW_BITS = 16
_MAX_ROW_BITS = 31
_BLOCK = 256  # entries whose ids are read side by side
_U32 = np.uint64(32)
_BASE, _SIZE, _ROW_BITS = 0, 1, 2  # columns of a directory


@dataclass(frozen=True, slots=True, eq=False)
class _Tables:
    """The segments as one value: a reader keeps what it reads alive while the writer replaces segments."""

    directory: U64  # [SEGMENTS, 3]: address, size and row bits of each segment's table
    tables: tuple[U32, ...]


class IdMap:
    """The row of each id. `addresses` [P] are the base addresses of the pages' id columns, `shift` = log2(page_rows).

    One writer; a reader that excludes `put` and `remove` may call `find` while the writer reserves.
    """

    def __init__(self, shift: int) -> None:
        self._shift = shift
        self._seed = np.uint64(secrets.randbits(64))
        self._count = 0
        self._counts = np.zeros(SEGMENTS, np.int64)  # ids in each segment
        tables = tuple(np.zeros(_size(segment, 0), np.uint32) for segment in range(SEGMENTS))
        directory = np.array([(table.ctypes.data, table.shape[0], _MIN_ROW_BITS) for table in tables], np.uint64)
        self._tables = _Tables(directory, tables)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Of all tables."""
        return sum(table.nbytes for table in self._tables.tables)

    def find(self, ids: I64, addresses: U64) -> I64:
        """Rows [n] of ids [n], -1 where unknown."""
        held = self._tables  # kept alive for the call
        return _find(held.directory, self._seed, as_compiled(ids), addresses, self._shift)

    def reserve(self, extra: int, highest_row: int, addresses: U64) -> None:
        """Makes room for `extra` more ids, unknown as yet, and for row numbers up to `highest_row`.

        Each segment is given room for its share and six standard deviations; `put` grows one that gets more.
        """
        share = extra / SEGMENTS
        room = math.ceil(share + 6 * math.sqrt(share))
        row_bits = (highest_row + 2).bit_length()
        assert row_bits <= _MAX_ROW_BITS, f"row {highest_row} is beyond what a row number can hold"
        ahead = min(row_bits + 1, _MAX_ROW_BITS)
        lacking = _lacking(self._tables.directory, self._counts, room, row_bits, ahead)
        if lacking.shape[0]:
            self._rebuild(lacking.tolist(), room, ahead, addresses)

    def put(self, ids: I64, rows: I64, addresses: U64) -> None:
        """Inserts unique ids [n] at rows [n], or moves them there. Both the old and the new row hold the id."""
        self.reserve(0, int(rows.max(initial=0)), addresses)
        ids, rows = as_compiled(ids), as_compiled(rows)
        done = 0
        while True:
            directory = self._tables.directory
            done, new, full = _put(directory, self._counts, self._seed, ids, rows, done, addresses, self._shift)
            self._count += new
            if full < 0:
                return
            self._rebuild([full], 1, _MIN_ROW_BITS, addresses)

    def remove(self, ids: I64, addresses: U64) -> None:
        """Forgets ids [n]; unknown ones are ignored. The rows must still hold their ids."""
        directory = self._tables.directory
        self._count -= _remove(directory, self._counts, self._seed, as_compiled(ids), addresses, self._shift)

    def _rebuild(self, segments: Sequence[int], room: int, row_bits: int, addresses: U64) -> None:
        """Replaces tables by ones with room for more ids each, and for row numbers of at least `row_bits`."""
        directory, tables = self._tables.directory.copy(), list(self._tables.tables)
        for segment in segments:
            old, old_bits = tables[segment], int(directory[segment, _ROW_BITS])
            bits = max(row_bits, old_bits)
            size = max(old.shape[0], _size(segment, int(self._counts[segment]) + room))
            if size == old.shape[0]:
                table = _widened(old, old_bits, bits)
            else:
                table = np.zeros(size, np.uint32)
                _move(old, old_bits, table, bits, self._seed, addresses, self._shift)
            tables[segment] = table
            directory[segment] = table.ctypes.data, size, bits
        self._tables = _Tables(directory, tuple(tables))


def _size(segment: int, ids: int) -> int:
    """The smallest size in the segment's series that holds the ids at the maximal load."""
    phase = segment / SEGMENTS
    steps = max(0, math.ceil(math.log(max(ids, 1) / (MAX_LOAD * _MIN_SIZE), GROWTH) - phase))
    return int(_MIN_SIZE * GROWTH ** (steps + phase)) + 1


def _widened(table: U32, old_bits: int, row_bits: int) -> U32:
    """The same entries with more row bits: a fingerprint is the hash's lowest bits, so its upper ones fall off."""
    rows = table & np.uint32((1 << old_bits) - 1)
    return (table >> np.uint32(old_bits)) << np.uint32(row_bits) | rows


@inlined
def _hash(key: int, seed: Scalar) -> Scalar:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    z = np.uint64(key) ^ seed
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@inlined
def _segment(hashed: Scalar) -> Scalar:
    """By bits that neither the home slot nor the fingerprint uses."""
    return np.int64((hashed >> np.uint64(16)) & np.uint64(SEGMENTS - 1))


@inlined
def _home(hashed: Scalar, size: int) -> Scalar:
    return np.int64(((hashed >> _U32) * np.uint64(size)) >> _U32)


@inlined
def _fingerprint(hashed: Scalar, row_bits: int) -> Scalar:
    return np.uint32(hashed & np.uint64((1 << (32 - row_bits)) - 1))


@inlined
def _row(entry: Scalar, row_bits: int) -> Scalar:
    return np.int64(entry & np.uint32((1 << row_bits) - 1)) - 1


@inlined
def _entry(fingerprint: Scalar, row: int, row_bits: int) -> Scalar:
    return np.uint32((np.uint64(fingerprint) << np.uint64(row_bits)) | np.uint64(row + 1))


@inlined
def _key(row: int, addresses: U64, shift: int) -> Scalar:
    return load_i64(addresses[row >> shift], row & ((1 << shift) - 1))


@inlined
def _slot(directory: U64, seed: Scalar, key: int, addresses: U64, shift: int) -> tuple[Scalar, ...]:
    """The slot that holds `key`, or -1 - the empty slot where it would go; its hash, segment and table."""
    hashed = _hash(key, seed)
    segment = _segment(hashed)
    base, size = directory[segment, _BASE], np.int64(directory[segment, _SIZE])
    row_bits = np.int64(directory[segment, _ROW_BITS])
    fingerprint = _fingerprint(hashed, row_bits)
    slot = _home(hashed, size)
    while True:
        entry = load_u32(base, slot)
        if entry == 0:
            return -1 - slot, hashed, segment, base, size, row_bits
        same = np.uint32(np.uint64(entry) >> np.uint64(row_bits)) == fingerprint
        if same and _key(_row(entry, row_bits), addresses, shift) == key:
            return slot, hashed, segment, base, size, row_bits
        slot += 1
        if slot == size:
            slot = 0


@inlined
def _fetch(directory: U64, seed: Scalar, ids: I64) -> None:
    """Starts loading the home slots of ids [n]: they lie anywhere in memory."""
    for i in range(ids.shape[0]):
        hashed = _hash(ids[i], seed)
        segment = _segment(hashed)
        prefetch(directory[segment, _BASE], 4 * _home(hashed, np.int64(directory[segment, _SIZE])))


@compiled
def _lacking(directory: U64, counts: I64, room: int, row_bits: int, ahead: int) -> I64:
    """The segments without room for `room` more ids or with fewer row bits, and one with fewer than `ahead`."""
    lacking = np.empty(counts.shape[0], np.int64)
    found, widened = 0, False
    for segment in range(counts.shape[0]):
        size, bits = np.int64(directory[segment, _SIZE]), np.int64(directory[segment, _ROW_BITS])
        early = bits < ahead and not widened
        if early or bits < row_bits or counts[segment] + room > MAX_LOAD * size:
            widened |= early
            lacking[found] = segment
            found += 1
    return lacking[:found]


@compiled
def _find(directory: U64, seed: Scalar, ids: I64, addresses: U64, shift: int) -> I64:
    rows = np.empty(ids.shape[0], np.int64)
    for start in range(0, ids.shape[0], _BLOCK):
        block = ids[start : start + _BLOCK]
        _fetch(directory, seed, block)
        for i in range(block.shape[0]):
            slot, _, _, base, _, row_bits = _slot(directory, seed, block[i], addresses, shift)
            rows[start + i] = _row(load_u32(base, slot), row_bits) if slot >= 0 else -1
    return rows


@compiled
def _put(
    directory: U64, counts: I64, seed: Scalar, ids: I64, rows: I64, start: int, addresses: U64, shift: int
) -> tuple[Scalar, Scalar, Scalar]:
    """Puts ids from `start` on. Returns where it stopped, how many were new, and the segment that is full, or -1."""
    new = 0
    _fetch(directory, seed, ids[start:])
    for i in range(start, ids.shape[0]):
        slot, hashed, segment, base, size, row_bits = _slot(directory, seed, ids[i], addresses, shift)
        if slot < 0:
            if counts[segment] + 1 > MAX_LOAD * size:
                return i, new, segment
            counts[segment] += 1
            new += 1
            slot = -1 - slot
        store_u32(base, slot, _entry(_fingerprint(hashed, row_bits), rows[i], row_bits))
    return ids.shape[0], new, -1


@compiled
def _remove(directory: U64, counts: I64, seed: Scalar, ids: I64, addresses: U64, shift: int) -> Scalar:
    """Backward-shift deletion (Knuth, TAOCP 6.4, algorithm R)."""
    removed = 0
    for i in range(ids.shape[0]):
        hole, _, segment, base, size, row_bits = _slot(directory, seed, ids[i], addresses, shift)
        if hole < 0:
            continue
        removed += 1
        counts[segment] -= 1
        slot = hole
        while True:
            slot = slot + 1 if slot + 1 < size else 0
            entry = load_u32(base, slot)
            if entry == 0:
                break
            home = _home(_hash(_key(_row(entry, row_bits), addresses, shift), seed), size)
            distance = slot - home if slot >= home else slot - home + size
            gap = slot - hole if slot >= hole else slot - hole + size
            if distance >= gap:  # the entry may move back to the hole without passing its home
                store_u32(base, hole, entry)
                hole = slot
        store_u32(base, hole, np.uint32(0))
    return removed


@compiled
def _move(old: U32, old_bits: int, table: U32, row_bits: int, seed: Scalar, addresses: U64, shift: int) -> None:
    """Puts the old table's entries into a larger one. Ids are read a block at a time, so that misses overlap."""
    size = table.shape[0]
    rows, hashes = np.empty(_BLOCK, np.int64), np.empty(_BLOCK, np.uint64)
    for start in range(0, old.shape[0], _BLOCK):
        held = 0
        for i in range(start, min(start + _BLOCK, old.shape[0])):
            rows[held] = _row(old[i], old_bits)
            held += old[i] != 0
        for i in range(held):
            hashes[i] = _hash(_key(rows[i], addresses, shift), seed)
        for i in range(held):
            slot = _home(hashes[i], size)
            while table[slot] != 0:
                slot = slot + 1 if slot + 1 < size else 0
            table[slot] = _entry(_fingerprint(hashes[i], row_bits), rows[i], row_bits)
