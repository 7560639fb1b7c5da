"""Watermarks combine as their laws say."""

from __future__ import annotations

import negmine
import pytest
from hypothesis import given
from hypothesis import strategies as st

marks = st.builds(
    negmine.Watermark,
    st.just("i"),
    st.integers(1, 3),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
)


@given(marks, marks, marks)
def test_merging_is_a_join_and_the_floor_a_meet(
    a: negmine.Watermark, b: negmine.Watermark, c: negmine.Watermark
) -> None:
    for combine in (negmine.Watermark.merge, negmine.Watermark.floor):
        assert combine(a, a) == a
        assert combine(a, b) == combine(b, a)
        assert combine(combine(a, b), c) == combine(a, combine(b, c))
    assert a.merge(a.floor(b)) == a
    assert a.merge(b).epoch == max(a.epoch, b.epoch)
    if a.epoch == b.epoch:
        assert a.merge(b).sequences == tuple(map(max, a.sequences, b.sequences))


def test_watermarks_of_different_collections_do_not_combine() -> None:
    a, b = negmine.Watermark("a", 1, (1,)), negmine.Watermark("b", 2, (1,))
    for combine in (a.merge, a.floor):
        with pytest.raises(negmine.IncarnationMismatch, match="incarnations 'a' and 'b'"):
            combine(b)


def test_versions_order_by_generation_first() -> None:
    assert negmine.Version(1, 0) > negmine.Version(0, 99)
