"""Batches that would not fit the mirror are refused before anything happens."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from negmine_server.domain import Applied, Batch
from negmine_server.errors import DeviceFull, Overloaded
from negmine_server.index.mirror import NoMirror
from negmine_server.index.rows import Rows
from row_model import WORDS, batch

PAGE = 256


class Small(NoMirror):
    """Has room for two pages."""

    def __init__(self) -> None:
        self.open = 0

    def open_page(self, slot: int) -> None:
        self.open += 1

    def close_page(self, slot: int) -> None:
        self.open -= 1

    def admit(self, rows: int, pages: int, names: frozenset[str]) -> None:
        if self.open + pages > 2:
            raise DeviceFull(f"no room for {rows} rows in {pages} pages")


class Queue:
    """Batches wait here until they are applied."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Batch, Future[Applied]]] = []

    def submit(self, batch: Batch) -> Future[Applied]:
        self.waiting.append((batch, Future()))
        return self.waiting[-1][1]


@pytest.fixture
def rows() -> Rows:
    return Rows(WORDS, page_rows=PAGE, mirror=Small())


def upsert(first: int, count: int, serial: int = 0) -> Batch:
    return batch(list(range(first, first + count)), [serial] * count, serial)


def test_what_waits_counts(rows: Rows) -> None:
    queue = Queue()
    rows.room.reserve(upsert(0, 300), queue.submit)
    rows.room.reserve(upsert(300, 200), queue.submit)
    with pytest.raises(DeviceFull, match="in 3 pages"):
        rows.room.reserve(upsert(500, 13), queue.submit)
    assert len(queue.waiting) == 2
    rows.room.reserve(upsert(500, 12), queue.submit)


def test_deletes_are_never_refused_and_make_room(rows: Rows) -> None:
    queue = Queue()
    rows.apply(upsert(0, 512))
    with pytest.raises(DeviceFull):
        rows.room.reserve(upsert(0, 1, 1), queue.submit)  # an overwrite is a new row
    gone = batch(list(range(256)), [1] * 256, deletes=True)
    rows.room.reserve(gone, queue.submit)
    rows.apply(gone)
    rows.room.reserve(upsert(0, 256, 2), queue.submit)
    assert len(queue.waiting) == 2


def test_a_page_that_is_not_full_is_filled(rows: Rows) -> None:
    queue = Queue()
    rows.apply(upsert(0, 400))
    rows.room.reserve(upsert(400, 112), queue.submit)
    with pytest.raises(DeviceFull):
        rows.room.reserve(upsert(512, 1), queue.submit)


@pytest.mark.parametrize("end", ["applied", "duplicate", "failed", "refused"])
def test_a_batch_that_has_ended_waits_no_more(rows: Rows, end: str) -> None:
    queue = Queue()
    first = upsert(0, 512)
    if end == "refused":

        def full(_: Batch) -> Future[Applied]:
            raise Overloaded("full")

        with pytest.raises(Overloaded):
            rows.room.reserve(first, full)
    else:
        future = rows.room.reserve(first, queue.submit)
        if end == "applied":
            rows.apply(first)  # it waits no more even before its future resolves
            gone = batch(list(range(512)), [1] * 512, deletes=True)
            rows.apply(gone)
        elif end == "duplicate":
            future.set_result(Applied(0, duplicate=True))
        else:
            future.set_exception(Overloaded("full"))
    rows.room.reserve(upsert(0, 512, 2), queue.submit)
