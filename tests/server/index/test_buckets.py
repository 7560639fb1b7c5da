"""What a shard is asked about its buckets."""

from __future__ import annotations

import numpy as np
from negmine_server.index.buckets import bucket_of, misplaced, sample
from negmine_server.index.pages import codes_of, gather
from negmine_server.index.rows import Rows
from row_model import WORDS, batch, contents


def filled(n: int = 900, buckets: int = 3) -> Rows:
    """Row i is in bucket i % buckets; 0 = loose."""
    rows = Rows(WORDS, page_rows=1024)
    rows.apply(batch(list(range(n)), [0] * n))
    view = rows.view
    there = view.everything()
    rows.move(view, there, gather(view, there)["ids"] % buckets)
    return rows


def test_where_ids_are() -> None:
    rows = filled()
    rows.apply(batch([3, 4], [1, 1], deletes=True))
    rows.apply(batch([5], [1], 1))
    asked = np.array([0, 1, 2, 3, 4, 5, 10**12, 8])
    assert bucket_of(rows.locate(asked)).tolist() == [0, 1, 2, -1, -1, 0, -1, 2]
    assert bucket_of(rows.locate(np.empty(0, np.int64))).shape == (0,)
    assert bucket_of(Rows(WORDS, page_rows=1024).locate(asked)).tolist() == [-1] * 8


def test_a_sample_is_of_its_bucket_and_the_same_each_time() -> None:
    view = filled().view
    some = sample(view, 2, 50, 7)
    assert some.shape == (50, WORDS)
    assert np.unique(some[:, 0]).size == 50
    assert (some[:, 0] % np.uint64(3) == 2).all()
    assert np.array_equal(some, sample(view, 2, 50, 7))
    assert not np.array_equal(some, sample(view, 2, 50, 8))
    assert np.unique(sample(view, None, 600, 0)[:, 0] % np.uint64(3)).size == 3


def test_a_sample_of_too_few_rows_is_all_of_them() -> None:
    view = filled().view
    assert np.array_equal(np.sort(sample(view, 1, 10_000, 0)[:, 0]), np.arange(1, 900, 3))
    assert sample(view, 9, 10, 0).shape == (0, WORDS)
    assert sample(Rows(WORDS, page_rows=1024).view, None, 10, 0).shape == (0, WORDS)


def test_misplaced_rows_are_those_that_are_routed_elsewhere() -> None:
    rows = filled()
    moves = misplaced(rows.view, 1, 200, lambda codes: np.where(codes[:, 0] % np.uint64(2) == 1, 5, 1))
    ids = gather(moves.view, moves.rows)["ids"]
    looked_at = codes_of(rows.view, rows.view.bucket(1)[:200])[:, 0].astype(np.int64)
    assert np.array_equal(ids, looked_at[looked_at % 2 == 1])
    assert (moves.buckets == 5).all()
    assert rows.move(moves.view, moves.rows, moves.buckets) == ids.size
    assert bucket_of(rows.locate(ids)).tolist() == [5] * ids.size
    assert misplaced(rows.view, 5, 200, lambda codes: np.full(len(codes), 5)).rows.shape == (0,)
    assert misplaced(rows.view, 8, 200, lambda codes: np.full(len(codes), 5)).rows.shape == (0,)


def test_moves_leave_what_was_overwritten_deleted_or_moved_meanwhile() -> None:
    rows = filled()
    moves = misplaced(rows.view, 1, 10_000, lambda codes: np.full(len(codes), 4))
    rows.apply(batch([1, 4], [1, 1], 9))
    rows.apply(batch([7], [1], deletes=True))
    assert misplaced_again(rows, 5) == 297
    assert rows.move(moves.view, moves.rows, moves.buckets) == 0
    held = contents(rows.view)
    assert 7 not in held
    assert held[1] == held[4] == (1, 9)
    assert bucket_of(rows.locate(np.array([1, 4, 10]))).tolist() == [0, 0, 5]


def misplaced_again(rows: Rows, to: int) -> int:
    moves = misplaced(rows.view, 1, 10_000, lambda codes: np.full(len(codes), to))
    return rows.move(moves.view, moves.rows, moves.buckets)
