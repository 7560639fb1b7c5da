"""Blocks against a plain list of who owns what: filled one after the other, freed, and used again when nobody reads."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.index.blocks import Blocks

ROWS, PER_PAGE = 64, 4


def opened(pages: int = 1) -> Blocks:
    blocks = Blocks(ROWS * PER_PAGE, ROWS)
    for slot in range(pages):
        blocks.open_page(slot)
    return blocks


def place(blocks: Blocks, buckets: list[int]) -> np.ndarray:
    runs = blocks.runs(np.array(buckets, np.int64))
    assert blocks.missing(runs) <= 0
    placement = blocks.place(runs)
    blocks.settle(placement)
    return placement.rows


def owned(blocks: Blocks) -> dict[int, list[int]]:
    lists = blocks.allocation.lists
    found = lists.find(lists.numbers)
    return {
        number: lists.blocks[lists.offsets[slot] : lists.offsets[slot + 1]].tolist()
        for number, slot in zip(lists.numbers.tolist(), found.tolist(), strict=True)
    }


def test_a_bucket_fills_its_last_block_before_it_takes_another() -> None:
    blocks = opened(2)
    first = place(blocks, [5] * 40 + [9] * 10)
    assert first.tolist() == [*range(40), *range(ROWS, ROWS + 10)]
    second = place(blocks, [9, 5, 9, 5] + [5] * 60)
    assert second[[0, 2]].tolist() == [ROWS + 10, ROWS + 11]
    assert second[[1, 3]].tolist() == [40, 41]
    assert second[4:26].tolist() == list(range(42, 64))
    assert second[26:].tolist() == list(range(2 * ROWS, 2 * ROWS + 38))
    assert owned(blocks) == {5: [0, 2], 9: [1]}
    assert blocks.allocation.bucket_of(np.arange(4)).tolist() == [5, 9, 5, -1]


def test_missing_counts_the_blocks_that_lack() -> None:
    blocks = opened(0)
    assert blocks.missing(blocks.runs(np.empty(0, np.int64))) == 0
    assert blocks.missing(blocks.runs(np.array([1]))) == 1
    assert blocks.missing(blocks.runs(np.array([1, 2, 3] * 65))) == 6
    blocks.open_page(0)
    assert blocks.missing(blocks.runs(np.array([1]))) == 1 - PER_PAGE
    place(blocks, [1] * 60)
    assert blocks.missing(blocks.runs(np.array([1] * 4))) == -3
    assert blocks.missing(blocks.runs(np.array([1] * 5))) == -2
    assert blocks.missing(blocks.runs(np.array([1] * 5 + [2]))) == -1


def test_a_placement_that_is_not_settled_has_changed_nothing() -> None:
    blocks = opened()
    place(blocks, [1] * 10)
    before = owned(blocks), blocks.counts.tolist()
    blocks.place(blocks.runs(np.array([1, 7] * 50)))
    assert (owned(blocks), blocks.counts.tolist()) == before
    assert place(blocks, [1]).tolist() == [10]


def test_freed_blocks_wait_for_the_views_that_may_read_them() -> None:
    blocks = opened()
    place(blocks, [1] * 64 + [2] * 10)
    assert blocks.free(np.array([0]), 7).tolist() == []
    assert owned(blocks) == {2: [1]}
    blocks.recycle(6)
    assert place(blocks, [3] * 128).tolist() == list(range(2 * ROWS, 4 * ROWS))
    assert blocks.missing(blocks.runs(np.array([4]))) == 1
    blocks.recycle(7)
    assert place(blocks, [4]).tolist() == [0]
    assert owned(blocks) == {2: [1], 3: [2, 3], 4: [0]}


def test_a_page_without_owned_blocks_goes_and_comes_back() -> None:
    blocks = opened(2)
    place(blocks, [1] * (5 * ROWS))
    assert blocks.free(np.array([0, 1]), 3).tolist() == []
    assert blocks.free(np.array([2, 3]), 4).tolist() == [0]
    blocks.close_page(0)
    blocks.recycle(9)
    assert blocks.missing(blocks.runs(np.array([2] * ROWS * 4))) == 1  # only the other page's three are left
    blocks.open_page(0)
    rows = place(blocks, [2] * ROWS * 7)
    assert np.unique(rows).size == ROWS * 7
    assert owned(blocks).keys() == {1, 2}


def test_worn_and_spent() -> None:
    blocks = opened(2)
    rows = place(blocks, [1] * (2 * ROWS) + [2] * 10)
    blocks.kill(rows[:32])
    assert blocks.worn(9).tolist() == []
    blocks.kill(rows[32:33])
    blocks.kill(rows[ROWS : 2 * ROWS])
    blocks.kill(rows[2 * ROWS :])
    assert blocks.worn(9).tolist() == [0, 1]
    assert blocks.worn(1).tolist() == [0]
    assert blocks.spent().tolist() == [1, 2]


def test_unknown_buckets_have_no_slot() -> None:
    empty = opened(0).allocation.lists
    assert empty.find(np.array([[0, 4], [-1, 2]])).tolist() == [[-1, -1], [-1, -1]]
    blocks = opened()
    place(blocks, [4, 10**15, 6])
    found = blocks.allocation.lists.find(np.array([-1, 0, 4, 5, 6, 10**15, 2**62]))
    assert (found >= 0).tolist() == [False, False, True, False, True, True, False]


actions = st.one_of(
    st.tuples(st.just("place"), st.lists(st.integers(0, 6), max_size=150)),
    st.tuples(st.just("kill"), st.integers(0, 2**32)),
    st.tuples(st.just("free"), st.booleans()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(actions, max_size=30))
def test_any_sequence_gives_no_row_twice(sequence: list) -> None:
    blocks, alive, view = opened(0), {}, 1  # row -> bucket
    pages: set[int] = set()
    for kind, detail in sequence:
        if kind == "place":
            runs = blocks.runs(np.array(detail, np.int64))
            for _ in range(-(-blocks.missing(runs) // PER_PAGE)):
                slot = next(slot for slot in range(100) if slot not in pages)
                pages.add(slot)
                blocks.open_page(slot)
            rows = place(blocks, detail).tolist()
            assert not alive.keys() & set(rows)
            assert len(set(rows)) == len(rows)
            alive.update(zip(rows, detail, strict=True))
        elif kind == "kill" and alive:
            some = np.random.default_rng(detail).permutation(sorted(alive))[: 1 + len(alive) // 2]
            blocks.kill(some)
            for row in some.tolist():
                del alive[row]
        elif kind == "free" and blocks.spent().size:
            view += 1
            for slot in blocks.free(blocks.spent(), view).tolist():
                blocks.close_page(slot)
                pages.remove(slot)
            blocks.recycle(view if detail else view - 1)
        held = np.array(sorted(alive), np.int64)
        assert blocks.allocation.bucket_of(held // ROWS).tolist() == [alive[row] for row in held.tolist()]
        assert (blocks.counts - blocks.dead).sum() == len(alive)
        assert {block for part in owned(blocks).values() for block in part} >= set((held // ROWS).tolist())
