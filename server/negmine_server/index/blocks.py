"""Which blocks of rows belong to which bucket, and how full they are.

A page is divided into blocks of `block_rows` rows, and a block belongs to one bucket or to none. Rows of a bucket fill
its last block, then a free one. Block b holds rows [b · block_rows, (b + 1) · block_rows). Buckets have numbers that
are never used again; here each has a dense slot as long as it has blocks. A freed block is used again once no view is
left that could still read it.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import I32, I64
from negmine_server.index.native import compiled

BLOCK_ROWS = 256
NO_BUCKETS: I64 = np.empty(0, np.int64)
LOOSE = 0  # the number of the bucket of rows that have not been given one; every search looks at it


class Lists(NamedTuple):
    """The blocks of each bucket at one instant, by slot: blocks[offsets[s]:offsets[s + 1]], ascending."""

    numbers: I64  # [S] of the buckets, ascending
    slots: I32  # [S] where each stands in `offsets`
    offsets: I64
    blocks: I64

    def find(self, numbers: I64) -> I32:
        """The slots of buckets (any shape), -1 for those that have no blocks."""
        if not self.numbers.size:
            return np.full(numbers.shape, -1, np.int32)
        places = np.minimum(np.searchsorted(self.numbers, numbers), self.numbers.size - 1)
        return np.where(self.numbers[places] == numbers, self.slots[places], np.int32(-1))


class Allocation:
    """Which bucket each block belonged to at one instant; shared by the views of that time."""

    def __init__(self, slots: I32, slot_of: dict[int, int]) -> None:
        self._slots = slots  # [M], -1 = free
        self._slot_of = slot_of
        self._lists: Lists | None = None

    @property
    def lists(self) -> Lists:
        """The blocks of each bucket. Sorted when first asked for; twice at worst, when two threads ask at once."""
        if self._lists is None:
            numbers = np.fromiter(self._slot_of, np.int64, len(self._slot_of))
            slots = np.fromiter(self._slot_of.values(), np.int32, len(self._slot_of))
            order = np.argsort(numbers)
            sorted_blocks = _sorted_by_slot(self._slots, int(slots.max(initial=-1)) + 1)
            self._lists = Lists(numbers[order], slots[order], *sorted_blocks)
        return self._lists

    def bucket_of(self, blocks: I64) -> I64:
        """The number [n] of the bucket of each block, -1 where the block is free."""
        numbers = np.full(max(self._slot_of.values(), default=-1) + 2, -1, np.int64)  # a free block's slot is -1
        numbers[list(self._slot_of.values())] = list(self._slot_of)
        return numbers[self._slots[blocks]]


class Runs(NamedTuple):
    """Rows [n] by the slot of their bucket."""

    slots: I64  # [m]
    counts: I64  # [m] rows
    inverse: I64  # [n] which of the slots


class Placement(NamedTuple):
    """Where new rows would go; nothing has changed yet."""

    rows: I64  # [n] row numbers
    counts: I64
    slots: I32
    tails: I64
    blocks_used: int


class Blocks:
    """Belongs to the one writer of the rows."""

    def __init__(self, page_rows: int, block_rows: int) -> None:
        self.rows = block_rows
        self._per_page = page_rows // block_rows
        self.counts = np.zeros(0, np.int64)  # [M] rows written
        self.dead = np.zeros(0, np.int64)  # [M] of these, dead
        self._slots = np.zeros(0, np.int32)  # [M] -1 = free
        self._slot_of: dict[int, int] = {}
        self._tails = np.zeros(0, np.int64)  # [S] the block that a slot's rows go to, -1 = none
        self._unused: list[int] = []  # slots
        self._free: list[int] = []
        self._pending: deque[tuple[int, I64]] = deque()  # (view number, blocks) freed, perhaps still read
        self._allocation: Allocation | None = None

    @property
    def allocation(self) -> Allocation:
        """What a view of now holds."""
        if self._allocation is None:
            self._allocation = Allocation(self._slots.copy(), dict(self._slot_of))
        return self._allocation

    def open_page(self, slot: int) -> None:
        """Adds the blocks of a new page."""
        end = (slot + 1) * self._per_page
        if end > self.counts.shape[0]:
            self.counts = np.pad(self.counts, (0, end - self.counts.shape[0]))
            self.dead = np.pad(self.dead, (0, end - self.dead.shape[0]))
            self._slots = np.pad(self._slots, (0, end - self._slots.shape[0]), constant_values=-1)
        self._free[:0] = range(end - 1, end - self._per_page - 1, -1)

    def runs(self, buckets: I64) -> Runs:
        """Rows of these buckets [n] by the slot that they go to."""
        if not buckets.shape[0] or (buckets == buckets[0]).all():
            numbers, inverse, counts = buckets[:1], np.zeros(buckets.shape[0], np.int64), np.array([buckets.shape[0]])
        else:
            numbers, inverse, counts = np.unique(buckets, return_inverse=True, return_counts=True)
        slots = np.array([self._slot(number) for number in numbers.tolist()], np.int64)
        return Runs(slots, counts[: slots.shape[0]], inverse)

    def missing(self, runs: Runs) -> int:
        """How many free blocks these rows lack."""
        tails = self._tails[runs.slots]
        room = np.where(tails >= 0, self.rows - self.counts[tails] if self.counts.size else 0, 0)
        needed = np.maximum(0, -(-(runs.counts - room) // self.rows)).sum()
        return int(needed) - len(self._free)

    def room(self) -> int:
        """Rows that loose ones can fill; blocks that some view can still read are among them."""
        free = len(self._free) + sum(blocks.shape[0] for _, blocks in self._pending)
        tail = int(self._tails[self._slot_of[LOOSE]]) if LOOSE in self._slot_of else -1
        used = int(self.counts[tail]) if tail >= 0 else self.rows
        return int((free + 1) * self.rows - used)

    def place(self, runs: Runs) -> Placement:
        """Chooses places for these rows; `missing` has been seen to. `settle` makes it so."""
        counts, owners, tails = self.counts.copy(), self._slots.copy(), self._tails.copy()
        slots = runs.slots[runs.inverse]
        order = np.argsort(runs.inverse, kind="stable") if runs.slots.shape[0] > 1 else np.arange(slots.shape[0])
        free = np.array(self._free[::-1], np.int64)
        rows = np.empty(slots.shape[0], np.int64)
        used = _fill(slots, order, counts, owners, tails, free, self.rows, rows)
        return Placement(rows, counts, owners, tails, used)

    def settle(self, placement: Placement) -> None:
        """Takes the places."""
        self.counts, self._slots, self._tails = placement.counts, placement.slots, placement.tails
        if placement.blocks_used:
            del self._free[-placement.blocks_used :]
            self._allocation = None

    def kill(self, rows: I64) -> None:
        """Counts rows as dead."""
        self.dead += np.bincount(rows // self.rows, minlength=self.dead.shape[0])

    def spent(self) -> I64:
        """Blocks without a live row."""
        return np.flatnonzero((self.counts > 0) & (self.dead == self.counts))

    def worn(self, most: int) -> I64:
        """At most `most` full blocks of which more than half is dead."""
        return np.flatnonzero((self.counts == self.rows) & (2 * self.dead > self.rows))[:most]

    def free(self, blocks: I64, view_number: int) -> I64:
        """Frees blocks, which views before `view_number` may still read. Returns the pages that are all free now."""
        slots = self._slots[blocks]
        self._slots[blocks] = -1
        self.counts[blocks] = self.dead[blocks] = 0
        ended = self._tails[slots] == blocks
        self._tails[slots[ended]] = -1
        self._drop_empty_slots(np.unique(slots))
        self._pending.append((view_number, blocks))
        self._allocation = None
        pages = np.unique(blocks // self._per_page)
        return pages[(self._slots.reshape(-1, self._per_page)[pages] < 0).all(axis=1)]

    def close_page(self, slot: int) -> None:
        """Forgets the blocks of a page that is all free."""
        self._free = [block for block in self._free if block // self._per_page != slot]
        self._pending = deque((number, blocks[blocks // self._per_page != slot]) for number, blocks in self._pending)

    def recycle(self, oldest_view: int) -> None:
        """Makes blocks free that no view from `oldest_view` on can read."""
        while self._pending and self._pending[0][0] <= oldest_view:
            self._free.extend(self._pending.popleft()[1].tolist())

    def _slot(self, number: int) -> int:
        slot = self._slot_of.get(number)
        if slot is None:
            if not self._unused:
                self._unused = [self._tails.shape[0]]
                self._tails = np.append(self._tails, -1)
            slot = self._slot_of[number] = self._unused.pop()
        return slot

    def _drop_empty_slots(self, slots: NDArray[np.int32]) -> None:
        held = np.isin(slots, self._slots)
        gone = set(slots[~held].tolist())
        if gone:
            self._slot_of = {number: slot for number, slot in self._slot_of.items() if slot not in gone}
            self._unused.extend(gone)


@compiled
def _fill(slots: I64, order: I64, counts: I64, owners: I32, tails: I64, free: I64, block_rows: int, rows: I64) -> int:
    used = 0
    for i in order:
        slot = slots[i]
        block = tails[slot]
        if block < 0 or counts[block] == block_rows:
            block = free[used]
            used += 1
            owners[block] = slot
            tails[slot] = block
        rows[i] = block * block_rows + counts[block]
        counts[block] += 1
    return used


@compiled
def _sorted_by_slot(owners: I32, slots: int) -> tuple[I64, I64]:
    """Counting sort: offsets [slots + 1] and the blocks that have an owner."""
    offsets = np.zeros(slots + 1, np.int64)
    for block in range(owners.shape[0]):
        if owners[block] >= 0:
            offsets[owners[block] + 1] += 1
    for slot in range(slots):
        offsets[slot + 1] += offsets[slot]
    blocks = np.empty(offsets[slots], np.int64)
    at = offsets[:-1].copy()
    for block in range(owners.shape[0]):
        if owners[block] >= 0:
            blocks[at[owners[block]]] = block
            at[owners[block]] += 1
    return offsets, blocks
