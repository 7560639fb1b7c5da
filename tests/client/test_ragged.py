"""Positives in their four forms."""

from __future__ import annotations

import negmine
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine._ragged import ragged

lists_of_ids = st.lists(st.lists(st.integers(0, 1 << 62), max_size=4), max_size=6)


@given(lists_of_ids)
def test_all_forms_say_the_same(lists: list[list[int]]) -> None:
    count = len(lists)
    made = ragged(lists, count)
    assert [made.values[made.offsets[i] : made.offsets[i + 1]].tolist() for i in range(count)] == lists
    pair = ragged((made.offsets, made.values), count)
    padded = np.full((count, 5), -1, np.int64)
    for row, ids in enumerate(lists):
        padded[row, : len(ids)] = ids
    for other in (pair, ragged(padded, count), ragged([np.array(ids, np.int64) for ids in lists], count)):
        np.testing.assert_array_equal(other.offsets, made.offsets)
        np.testing.assert_array_equal(other.values, made.values)


@given(lists_of_ids.filter(bool), st.data())
def test_a_part_holds_its_anchors_lists(lists: list[list[int]], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(lists) - 1))
    last = data.draw(st.integers(first + 1, len(lists)))
    part, wanted = ragged(lists, len(lists))[first:last], ragged(lists[first:last], last - first)
    np.testing.assert_array_equal(part.offsets, wanted.offsets)
    np.testing.assert_array_equal(part.values, wanted.values)


def test_one_positive_each_is_an_array_of_one_axis() -> None:
    made = ragged(np.array([7, -1, 9]), 3)
    assert made.offsets.tolist() == [0, 1, 1, 2]
    assert made.values.tolist() == [7, 9]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ((np.array([0, 1, 2]), np.array([5])), "run from 0 to 2 over 1 values"),
        ((np.array([0, 2, 1]), np.array([5])), "run from 0 to 1 over 1 values"),
        ((np.array([1, 1, 1]), np.array([5])), "run from 1 to 1"),
        ((np.array([0, 1]), np.array([5])), r"positives.offsets has shape \(2,\); expected \[3\]"),
        ([[1], [2], [3]], "3 lists for 2 anchors"),
        (np.ones((3, 2), np.int64), r"positives has shape \(3, 2\); expected \[2, p\]"),
        (np.ones((2, 2)), "positives has dtype float64"),
        ([[1], [2.5]], r"positives\[1\] has dtype float64"),
    ],
)
def test_positives_that_do_not_add_up_are_refused(wrong: object, message: str) -> None:
    with pytest.raises(negmine.InvalidInput, match=message):
        ragged(wrong, 2)
