"""Item id -> row number, without a Python object per id.

An open-addressing table of uint32: each entry holds a row number (plus one; 0 = empty) in its low `row_bits` and a
fingerprint of the id's hash in the rest. The ids themselves are not stored: a matching fingerprint is confirmed by the
id that the row holds, read through the pages' addresses. Four bytes an entry at a load of 0.53 to 0.8.

Linear probing; deletion shifts the cluster back, so there are no markers to collect. The home slot is
`hash >> 32` scaled to the table's size (Lemire's fast range), so the size need not be a power of two. The hash is
seeded per table: ids chosen by a client cannot be aimed at one slot.
"""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I64, U64
from negmine_server.index.native import Scalar, as_compiled, compiled, inlined, load_i64

U32 = NDArray[np.uint32]

MAX_LOAD = 0.8
GROWTH = 1.5
_MIN_SIZE = 64
_MIN_ROW_BITS = 16
_U32 = np.uint64(32)


class IdMap:
    """The row of each id. `addresses` [P] are the base addresses of the pages' id columns, `shift` = log2(page_rows).

    One writer; a reader that excludes `put` and `remove` may call `find` while the writer reserves.
    """

    def __init__(self, shift: int, capacity: int = 0) -> None:
        self._shift = shift
        self._seed = np.uint64(secrets.randbits(64))
        # The table and its row bits are replaced together, by one assignment.
        self._state = (np.zeros(max(_MIN_SIZE, int(capacity / MAX_LOAD) + 1), np.uint32), _MIN_ROW_BITS)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._state[0].nbytes

    def find(self, ids: I64, addresses: U64) -> I64:
        """Rows [n] of ids [n], -1 where unknown."""
        return _find(*self._state, self._seed, as_compiled(ids), addresses, self._shift)

    def reserve(self, extra: int, highest_row: int, addresses: U64) -> None:
        """Makes room for `extra` more ids and for row numbers up to `highest_row`."""
        old, old_bits = self._state
        size = old.shape[0]
        while self._count + extra > MAX_LOAD * size:
            size = int(size * GROWTH)
        row_bits = max(old_bits, (highest_row + 2).bit_length())
        assert row_bits <= 31, f"row {highest_row} is beyond what a row number can hold"
        if size == old.shape[0] and row_bits == old_bits:
            return
        table = np.zeros(size, np.uint32)
        _move(old, old_bits, table, row_bits, self._seed, addresses, self._shift)
        self._state = (table, row_bits)

    def put(self, ids: I64, rows: I64, addresses: U64) -> None:
        """Inserts unique ids [n] at rows [n], or moves them there. Both the old and the new row hold the id."""
        if ids.shape[0]:
            self.reserve(ids.shape[0], int(rows.max()), addresses)
            self._count += _put(*self._state, self._seed, as_compiled(ids), as_compiled(rows), addresses, self._shift)

    def remove(self, ids: I64, addresses: U64) -> None:
        """Forgets ids [n]; unknown ones are ignored. The rows must still hold their ids."""
        self._count -= _remove(*self._state, self._seed, as_compiled(ids), addresses, self._shift)


@inlined
def _hash(key: int, seed: Scalar) -> Scalar:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014)."""
    z = np.uint64(key) ^ seed
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


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
def _slot(table: U32, row_bits: int, seed: Scalar, key: int, addresses: U64, shift: int) -> Scalar:
    """The slot that holds `key`, or -1 - the empty slot where it would go."""
    hashed = _hash(key, seed)
    fingerprint = _fingerprint(hashed, row_bits)
    slot = _home(hashed, table.shape[0])
    while True:
        entry = table[slot]
        if entry == 0:
            return -1 - slot
        same = np.uint32(np.uint64(entry) >> np.uint64(row_bits)) == fingerprint
        if same and _key(_row(entry, row_bits), addresses, shift) == key:
            return slot
        slot += 1
        if slot == table.shape[0]:
            slot = 0


@compiled
def _find(table: U32, row_bits: int, seed: Scalar, ids: I64, addresses: U64, shift: int) -> I64:
    rows = np.empty(ids.shape[0], np.int64)
    for i in range(ids.shape[0]):
        slot = _slot(table, row_bits, seed, ids[i], addresses, shift)
        rows[i] = _row(table[slot], row_bits) if slot >= 0 else -1
    return rows


@compiled
def _put(table: U32, row_bits: int, seed: Scalar, ids: I64, rows: I64, addresses: U64, shift: int) -> Scalar:
    inserted = 0
    for i in range(ids.shape[0]):
        slot = _slot(table, row_bits, seed, ids[i], addresses, shift)
        if slot < 0:
            slot = -1 - slot
            inserted += 1
        table[slot] = _entry(_fingerprint(_hash(ids[i], seed), row_bits), rows[i], row_bits)
    return inserted


@compiled
def _remove(table: U32, row_bits: int, seed: Scalar, ids: I64, addresses: U64, shift: int) -> Scalar:
    """Backward-shift deletion (Knuth, TAOCP 6.4, algorithm R)."""
    size = table.shape[0]
    removed = 0
    for i in range(ids.shape[0]):
        hole = _slot(table, row_bits, seed, ids[i], addresses, shift)
        if hole < 0:
            continue
        removed += 1
        slot = hole
        while True:
            slot = slot + 1 if slot + 1 < size else 0
            entry = table[slot]
            if entry == 0:
                break
            home = _home(_hash(_key(_row(entry, row_bits), addresses, shift), seed), size)
            distance = slot - home if slot >= home else slot - home + size
            gap = slot - hole if slot >= hole else slot - hole + size
            if distance >= gap:  # the entry may move back to the hole without passing its home
                table[hole] = entry
                hole = slot
        table[hole] = np.uint32(0)
    return removed


@compiled
def _move(old: U32, old_bits: int, table: U32, row_bits: int, seed: Scalar, addresses: U64, shift: int) -> None:
    size = table.shape[0]
    for i in range(old.shape[0]):
        if old[i] == 0:
            continue
        row = _row(old[i], old_bits)
        hashed = _hash(_key(row, addresses, shift), seed)
        slot = _home(hashed, size)
        while table[slot] != 0:
            slot = slot + 1 if slot + 1 < size else 0
        table[slot] = _entry(_fingerprint(hashed, row_bits), row, row_bits)
