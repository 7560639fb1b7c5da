"""What is asked of the buckets of one shard: where ids are, samples, and the rows that belong elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from negmine_server.domain import I64, U64
from negmine_server.index.pages import View, codes_of
from negmine_server.index.rows import Located, Rows


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Rows [n] of a view, and the numbers of the buckets [n] that they belong to. Holds the view, so the rows stay."""

    view: View
    rows: I64
    buckets: I64

    def apply(self, rows: Rows) -> int:
        """On the writer's thread; returns how many were moved."""
        return rows.move(self.view, self.rows, self.buckets)


def bucket_of(located: Located) -> I64:
    """The number [n] of the bucket of each located row, -1 where there is none."""
    found = located.rows >= 0
    numbers = np.full(len(located.rows), -1, np.int64)
    numbers[found] = located.view.allocation.bucket_of(located.rows[found] // located.view.block_rows)
    return numbers


def sample(view: View, bucket: int | None, n: int, seed: int) -> U64:
    """Codes [at most n, W] of rows of a bucket, of all rows where that is None; drawn by the seed."""
    rows = view.everything() if bucket is None else view.bucket(bucket)
    if rows.shape[0] > n:
        rows = np.sort(np.random.default_rng(seed).choice(rows, n, replace=False))
    return codes_of(view, rows)


def misplaced(view: View, bucket: int, most: int, route: Callable[[U64], I64]) -> Moves:
    """Of the first `most` rows of a bucket those that `route` gives another: codes [n, W] -> numbers [n]."""
    rows = view.bucket(bucket, most)
    buckets = route(codes_of(view, rows))
    leaving = buckets != bucket
    return Moves(view, rows[leaving], buckets[leaving])
