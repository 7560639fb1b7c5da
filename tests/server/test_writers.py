"""Numbered batches: what was applied, what failed, and whom that holds back."""

from __future__ import annotations

import pytest
from negmine_server.errors import Aborted
from negmine_server.writers import Writers


def test_a_number_up_to_the_last_was_applied() -> None:
    writers = Writers(10)
    writers.record("w", 3)
    assert [writers.applied("w", number) for number in (1, 3, 4)] == [True, True, False]
    assert not writers.applied("v", 1)
    assert not writers.applied("", 0)
    writers.record("w", 2)  # acked again
    assert writers.state() == {"w": 3}


def test_a_failed_batch_holds_back_the_later_ones_of_its_writer_alone() -> None:
    writers = Writers(10)
    writers.fail("w", 5)
    writers.fail("w", 4)
    writers.fail("w", 6)
    with pytest.raises(Aborted, match="batch 5 of writer 'w' came after batch 4 failed; resend from 4"):
        writers.check("w", 5)
    writers.check("w", 4)
    writers.check("v", 9)
    writers.check("", 0)
    writers.check("w", 5)  # right behind the resent one
    writers.fail("w", 4)
    with pytest.raises(Aborted):
        writers.check("w", 6)


def test_what_was_applied_after_all_has_not_failed() -> None:
    writers = Writers(10)
    writers.record("w", 5)
    writers.fail("w", 5)
    writers.check("w", 6)
    writers.fail("", 0)
    writers.check("", 0)


def test_the_longest_silent_writer_is_forgotten_first() -> None:
    writers = Writers(2)
    for writer in ("a", "b", "a", "c"):
        writers.record(writer, 1)
    assert writers.state() == {"a": 1, "c": 1}
    for writer in ("x", "y", "z"):
        writers.fail(writer, 1)
    writers.check("x", 2)
    restored = Writers(2)
    restored.restore(writers.state())
    assert restored.applied("a", 1)
    restored.record("d", 1)
    assert restored.state() == {"c": 1, "d": 1}
