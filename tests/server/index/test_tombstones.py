"""Tombstones: versions by id, bounded in age and number."""

from __future__ import annotations

import numpy as np
from negmine_server.index.tombstones import NO_VERSION, Tombstones


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_an_empty_one_knows_nothing() -> None:
    tombstones = Tombstones(10)
    assert tombstones.versions(ints(1, 2)).tolist() == [NO_VERSION, NO_VERSION]
    assert tombstones.expire(10**15) == 0


def test_a_later_delete_replaces_an_earlier_one() -> None:
    tombstones = Tombstones(10)
    tombstones.add(ints(1, 2), ints(5, 6), ints(100, 100))
    tombstones.add(ints(2, 3), ints(9, 7), ints(200, 200))
    assert len(tombstones) == 3
    assert tombstones.versions(ints(1, 2, 3, 4)).tolist() == [5, 9, 7, NO_VERSION]
    assert tombstones.arrays()["ids"].tolist() == [1, 2, 3]


def test_expiry_forgets_the_old_alone() -> None:
    tombstones = Tombstones(10)
    tombstones.add(ints(1, 2), ints(1, 1), ints(100, 100))
    tombstones.add(ints(3), ints(1), ints(200))
    tombstones.remove(ints(1))
    assert tombstones.expire(200) == 1
    assert tombstones.versions(ints(1, 2, 3)).tolist() == [NO_VERSION, NO_VERSION, 1]
    assert tombstones.expire(201) == 1
    assert len(tombstones) == 0


def test_the_oldest_make_room_beyond_the_maximum() -> None:
    tombstones = Tombstones(100)
    for start in range(0, 1000, 30):
        ids = np.arange(start, start + 30)
        tombstones.add(ids, ids, ids)
        assert len(tombstones) == min(100, start + 30)
    assert tombstones.arrays()["ids"].tolist() == list(range(920, 1020))
    tombstones.add(np.arange(5000, 5300), np.arange(300), np.arange(300))
    assert tombstones.arrays()["ids"].tolist() == list(range(5200, 5300))
