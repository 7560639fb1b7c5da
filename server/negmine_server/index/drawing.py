"""Random items of a view: those whose random keys under a seed come first.

The keys hang on seed and id alone, so whichever way the rows lie, and however many shards hold them, the same items
are drawn: a uniform sample, since any n items are as likely as any other n to have the lowest keys.
"""

from __future__ import annotations

import numpy as np

from negmine_server.domain import I64, U64
from negmine_server.hashing import mix
from negmine_server.index.native import Scalar, inlined, kernel, load_u32, load_u64
from negmine_server.index.pages import Column, View

_SPARE = 1.5  # keys looked for per item wanted: fewer than n among them is rare, and asked again
_HIGHEST = 2**64 - 1


def draw(view: View, seed: int, low: int, n: int) -> tuple[I64, U64]:
    """Ids and keys of the at most n visible items with the lowest keys that are at least `low`, by key."""
    salt = mix(np.array([seed], np.uint64))[0]
    share = _SPARE * (n + 16) / max(1, view.rows)
    space = n * 4 + 64
    while True:
        high = min(_HIGHEST, low + int(min(share, 1.0) * 2.0**64))
        ids, keys = np.empty(space, np.int64), np.empty(space, np.uint64)
        found = _between(
            view.directory[Column.IDS], view.directory[Column.DIED], view.shift, view.block_rows, view.counts,
            view.epoch, salt, np.uint64(low), np.uint64(high), ids, keys,
        )  # fmt: skip
        if found > space:
            space = found
        elif found < n and high < _HIGHEST:
            share *= 4
        else:
            order = np.argsort(keys[:found])[:n]
            return ids[order], keys[order]


@kernel
def _between(
    id_pages: U64, died_pages: U64, shift: int, block_rows: int, counts: I64,
    epoch: int, salt: Scalar, low: Scalar, high: Scalar, ids: I64, keys: U64,
) -> int:  # fmt: skip
    """Collects the visible items with low <= key <= high, as many as there is space for; returns how many there are."""
    found = 0
    for block in range(counts.shape[0]):
        first = block * block_rows
        base = id_pages[first >> shift]
        died = died_pages[first >> shift]
        place = first & ((1 << shift) - 1)
        for row in range(place, place + counts[block]):
            item = load_u64(base, row)
            key = _mixed(salt ^ item)
            if low <= key <= high:
                gone = np.int64(load_u32(died, row))
                if gone == 0 or gone > epoch:
                    if found < ids.shape[0]:
                        ids[found], keys[found] = np.int64(item), key
                    found += 1
    return found


@inlined
def _mixed(value: Scalar) -> Scalar:
    """`hashing.mix` of one number."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
