"""What rows tell their mirror: every view can be rebuilt from it, whatever happens to the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.domain import I64, U64
from negmine_server.index import pageset as pageset_module
from negmine_server.index.mirror import NoMirror
from negmine_server.index.pages import gather
from negmine_server.index.rows import Rows
from row_model import WORDS, batch

PAGE = 256


class Notes(NoMirror):
    """A mirror of dictionaries: what each row holds, and from and to which epoch."""

    def __init__(self) -> None:
        self.open: set[int] = set()
        self.born: dict[int, int] = {}
        self.died: dict[int, int] = {}
        self.held: dict[int, tuple[int, int]] = {}  # row -> id, version
        self._written: list[tuple[I64, dict[str, Any]]] = []
        self._killed: list[int] = []

    def open_page(self, slot: int) -> None:
        assert slot not in self.open
        self.open.add(slot)

    def close_page(self, slot: int) -> None:
        self.open.remove(slot)
        for row in [row for row in self.born if row // PAGE == slot]:
            del self.born[row], self.held[row]
            self.died.pop(row, None)

    def write(self, rows: I64, items: dict[str, Any]) -> None:
        assert {row // PAGE for row in rows.tolist()} <= self.open
        assert all(self.died.get(row) for row in rows.tolist() if row in self.born)
        self._written.append((rows, items))

    def kill(self, rows: I64) -> None:
        self._killed += rows.tolist()

    def renumber(self, epoch: int) -> None:
        self._flush(epoch)
        dead = set(self.died)
        self.born = {row: 1 for row in self.born if row not in dead}
        self.died = {}

    def publish(self, epoch: int, vectors: U64) -> dict[int, tuple[int, int]]:  # type: ignore[override]
        self._flush(epoch)
        return {
            row: self.held[row]
            for row, born in self.born.items()
            if born <= epoch and (row not in self.died or self.died[row] > epoch)
        }

    def _flush(self, epoch: int) -> None:
        for row in self._killed:  # of a page that closed with it, perhaps
            if row in self.born:
                self.died[row] = epoch
        for rows, items in self._written:
            for row, key, version in zip(rows.tolist(), items["ids"].tolist(), items["versions"].tolist(), strict=True):
                self.born[row], self.held[row] = epoch, (key, version)
                self.died.pop(row, None)
        self._written, self._killed = [], []


steps = st.lists(
    st.one_of(
        st.tuples(st.booleans(), st.dictionaries(st.integers(0, 600), st.integers(0, 4), max_size=300)),
        st.tuples(st.just("move"), st.integers(0, 2**32 - 1)),
    ),
    max_size=15,
)


@settings(max_examples=40, deadline=None)
@given(steps, st.booleans())
def test_a_mirror_that_follows_holds_what_every_view_shows(sequence: list, renumbering: bool) -> None:
    epoch_max = pageset_module.EPOCH_MAX
    pageset_module.EPOCH_MAX = 7 if renumbering else epoch_max
    try:
        rows = Rows(WORDS, page_rows=PAGE, mirror=Notes())
        views = [rows.view]
        for serial, step in enumerate(sequence):
            if step[0] == "move":
                rng = np.random.default_rng(step[1])
                there = views[-1].everything()
                rows.move(views[-1], there, rng.integers(0, 4, there.shape[0]))
            else:
                deletes, items = step
                rows.apply(batch(list(items), list(items.values()), serial, deletes=deletes))
            view = rows.view
            views = [*views[-1:], view]
            here = view.everything()
            held = gather(view, here)
            expected = zip(held["ids"].tolist(), held["versions"].tolist(), strict=True)
            assert view.mirrored == dict(zip(here.tolist(), expected, strict=True))
    finally:
        pageset_module.EPOCH_MAX = epoch_max


def test_restored_rows_are_told_too() -> None:
    rows = Rows(WORDS, page_rows=PAGE)
    rows.apply(batch(list(range(700)), [1] * 700))
    mirror = Notes()
    again = Rows(WORDS, page_rows=PAGE, mirror=mirror)
    again.restore(rows.freeze().parts(100))
    assert sorted(key for key, _ in again.view.mirrored.values()) == list(range(700))
    assert mirror.open == {0, 1, 2}


def test_without_a_mirror_views_are_searched_here() -> None:
    rows = Rows(WORDS, page_rows=PAGE)
    rows.apply(batch([1], [1]))
    assert rows.view.mirrored is None
    assert rows.stats().device_bytes == 0
