"""What rows must hold, as a dictionary; and batches whose codes and corrections say which version they are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from negmine_server.domain import Batch
from negmine_server.index.pages import View, gather
from negmine_server.index.rows import Outcome

WORDS = 2
DIMENSION = 5
PAGE = 64


def batch(ids: list[int], versions: list[int], serial: int = 0, *, deletes: bool = False, **columns: object) -> Batch:
    n = len(ids)
    keys, packed = np.array(ids, np.int64), np.array(versions, np.int64)
    if deletes:
        return Batch(ids=keys, versions=packed, **columns)
    codes = np.empty((n, WORDS), np.uint64)
    codes[:, 0], codes[:, 1] = keys.astype(np.uint64), serial
    return Batch(ids=keys, versions=packed, codes=codes, corrections=np.full(n, serial, np.float32), **columns)


def contents(view: View) -> dict[int, tuple[int, int]]:
    """id -> (version, serial) of the visible rows; each id once."""
    rows = view.everything()
    items = gather(view, rows)
    assert np.array_equal(items["codes"][:, 0], items["ids"].astype(np.uint64))
    assert np.array_equal(items["corrections"], items["codes"][:, 1].astype(np.float32))
    assert np.unique(items["ids"]).shape == items["ids"].shape
    assert view.rows == rows.shape[0]
    return dict(zip(items["ids"].tolist(), zip(items["versions"], items["codes"][:, 1], strict=True), strict=True))


@dataclass
class Model:
    rows: dict[int, tuple[int, int]] = field(default_factory=dict)
    buried: dict[int, int] = field(default_factory=dict)

    def apply(self, deletes: bool, items: dict[int, int], serial: int) -> Outcome:
        inserted = overwritten = deleted = stale = 0
        for key, version in items.items():
            newest = self.rows[key][0] if key in self.rows else self.buried.get(key, -1)
            if version < newest:
                stale += 1
            elif deletes:
                deleted += self.rows.pop(key, None) is not None
                self.buried[key] = version
            else:
                inserted += key not in self.rows
                overwritten += key in self.rows
                self.rows[key] = (version, serial)
                self.buried.pop(key, None)
        return Outcome(inserted, overwritten, deleted, stale)
