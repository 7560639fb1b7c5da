"""Upserts in place: rows a second into pages that are searched, from device memory and from the host's.

The engine's part alone: row numbers are given, and neither log nor id map is kept. A batch writes rows at the tail and
kills as many, as overwrites do; pages are used again and again, none is opened or closed meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from harness.result import Result
from negmine_server.domain import Batch, Scoring, VectorStore
from negmine_server.index.rows import Rows

from gpu.card import Card
from gpu.rows import Table
from gpu.scans import K, Sizes, query_of

BITS, ROWS, ANCHORS = 256, "1e7", 64
BATCH_ROWS = 65_536
BATCHES_HELD = 64  # half of them alive
BATCHES, SECONDS = 400, 4.0
SEARCHES, SEARCHES_S = 1_000, 6.0
TARGETS = {"device": 20e6, "host": 2e6}
P99 = ((1024, "1e8"), (64, "1e7"))  # anchors and rows; the first is the figure with the short name
P99_TIMES = 1.5
MAPPED_BATCHES = 48

Cell = Callable[[Card], Iterable[Result]]


def cells() -> Iterator[tuple[str, Cell]]:
    """`gpu.upsert.…` and `gpu.p99_under_upserts`."""
    yield "gpu.upsert", alone
    for b, label in P99:
        yield f"gpu.p99_under_upserts.b{b}", partial(under_upserts, b, label)
    yield "gpu.upsert.with_id_map", with_id_map


class Upserts:
    """Batches into the spare pages of a table; belongs to the thread that sends them.

    Args:
        source: "device" or "host", where a batch's columns lie.
    """

    def __init__(self, card: Card, table: Table, source: str) -> None:
        self._card, self._table = card, table
        self.batch_rows = batch_rows(card)
        random = np.random.default_rng(0)
        n = self.batch_rows
        self._items: dict[str, Any] = {
            "ids": np.arange(n) + table.rows,
            "versions": np.ones(n, np.int64),
            "codes": random.integers(0, 2**64, (n, table.words), np.uint64),
            "corrections": np.ones(n, np.float32),
        }
        if source == "device":
            self._items = {
                name: torch.from_numpy(values.view(np.int64) if name == "codes" else values).to(card.gpu.torch_device)
                for name, values in self._items.items()
            }
            card.wait()

    def send(self) -> None:
        """One batch: written where rows are dead, as many rows killed, published."""
        table = self._table
        table.pages.write(self._rows(table.batches), self._items)
        if table.batches >= BATCHES_HELD // 2:
            table.pages.kill(self._rows(table.batches - BATCHES_HELD // 2))
        table.publish()
        table.batches += 1

    def wait(self) -> None:
        """Until the device has them all."""
        with self._card.gpu.updating():
            self._card.gpu.sync()

    def _rows(self, batch: int) -> Any:
        first = self._table.spare_first + batch % BATCHES_HELD * self.batch_rows
        return np.arange(first, first + self.batch_rows)

    def rows_s(self, batches: int, seconds: float) -> float:
        """Rows a second, all of them there at the end."""
        self.wait()
        begin, sent = time.perf_counter(), 0
        while sent < batches and time.perf_counter() - begin < seconds:
            self.send()
            sent += 1
        self.wait()
        return sent * self.batch_rows / (time.perf_counter() - begin)


def batch_rows(card: Card) -> int:
    """Rows of a batch."""
    return 128 if card.small else BATCH_ROWS


def made(card: Card, label: str) -> Table:
    """The table that is searched, with room for batches."""
    return Table(card, BITS, label, spare_rows=BATCHES_HELD * batch_rows(card))


def alone(card: Card) -> Iterator[Result]:
    """Nothing else goes on; then searches, one after the other."""
    table = card.on_worker(lambda: made(card, ROWS))
    search = searching(card, table, ANCHORS)
    card.on_worker(search)
    for source, target in TARGETS.items():
        upserts = Upserts(card, table, source)
        for _ in range(BATCHES_HELD):
            upserts.send()
        batches = card.rounds(BATCHES)
        rates = [upserts.rows_s(batches, SECONDS) for _ in range(card.rounds(3))]
        with Repeated(card, search) as repeated:
            under_search = upserts.rows_s(batches, SECONDS)
        params: dict[str, Any] = {"batch_rows": upserts.batch_rows, "bits": BITS, "rates": sorted(rates)}
        params |= {"rows_searched": table.rows, "anchors": ANCHORS, "searches": len(repeated.seconds)}
        params["under_search"] = under_search
        rate = float(np.median(rates))
        yield Result(f"gpu.upsert.{source}", rate, "rows/s", "higher", target, params=params)
        yield Result(f"gpu.upsert.{source}.under_search", under_search, "rows/s", "higher", params=params)


def under_upserts(b: int, label: str, card: Card) -> Iterator[Result]:
    """p99 of a search while batches come in as fast as they can, over the idle one's; the worse of the two sources."""
    table = card.on_worker(lambda: made(card, label))
    search = searching(card, table, b)
    idle = latencies(card, search)
    params: dict[str, Any] = {"rows": table.rows, "anchors": card.anchors(b), "k": card.k(K), "bits": BITS}
    params |= {"batch_rows": batch_rows(card), "idle": quantiles(idle)}
    for source in TARGETS:
        upserts, before = Upserts(card, table, source), table.batches
        stop = threading.Event()
        sender = threading.Thread(target=partial(_send_until, upserts, stop))
        sender.start()
        begin = time.perf_counter()
        try:
            busy = latencies(card, search)
        finally:
            stop.set()
            sender.join()
        rate = (table.batches - before) * upserts.batch_rows / (time.perf_counter() - begin)
        params[source] = quantiles(busy) | {"rows_s": rate}
    worst = max(params[source]["p99_ms"] for source in TARGETS) / params["idle"]["p99_ms"]
    name = "gpu.p99_under_upserts" if (b, label) == P99[0] else f"gpu.p99_under_upserts.b{b}.n{label}"
    yield Result(name, worst, "× idle", "lower", P99_TIMES, params=params)


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Of a list of latencies."""
    p50, p99 = np.quantile(seconds, (0.5, 0.99))
    return {"p50_ms": 1e3 * float(p50), "p99_ms": 1e3 * float(p99), "searches": len(seconds)}


def with_id_map(card: Card) -> Iterator[Result]:
    """What the host's rows allow, with ids mapped and pages kept here too: the log alone is missing."""
    mirror_pages = Table.pages_of(card, BITS)
    rows = Rows(BITS // 64, VectorStore.NONE, 0, page_rows=card.page_rows, mirror=mirror_pages)
    n = batch_rows(card)
    batches = 4 if card.small else MAPPED_BATCHES
    random = np.random.default_rng(0)
    codes = random.integers(0, 2**64, (n, BITS // 64), np.uint64)
    ones = np.ones(n, np.float32)

    def send(number: int) -> None:
        ids = np.arange(n) + number % (batches // 2) * n  # the second half overwrites the first
        rows.apply(Batch(ids=ids, versions=np.full(n, number), codes=codes, corrections=ones))

    send(0)
    begin = time.perf_counter()
    for number in range(1, batches):
        send(number)
    with card.gpu.updating():
        card.gpu.sync()
    rate = (batches - 1) * n / (time.perf_counter() - begin)
    params = {"batch_rows": n, "batches": batches, "bits": BITS, "overwritten": 0.5}
    yield Result("gpu.upsert.with_id_map", rate, "rows/s", "higher", params=params)


def searching(card: Card, table: Table, b: int) -> Callable[[], Any]:
    """A search of what the table's newest view shows."""
    query = query_of(Sizes(Scoring.SYMMETRIC, BITS, b, ROWS), card)
    searcher = table.searcher()
    return lambda: searcher.top_r(table.view, query, card.k(K))


def latencies(card: Card, search: Callable[[], Any]) -> list[float]:
    """Seconds of searches, one after the other, as a caller sees them."""
    count, found = card.rounds(SEARCHES), []
    for _ in range(3):
        card.on_worker(search)
    begin = time.perf_counter()
    while len(found) < count and time.perf_counter() - begin < SEARCHES_S:
        at = time.perf_counter()
        card.on_worker(search)
        found.append(time.perf_counter() - at)
    return found


def _send_until(upserts: Upserts, stop: threading.Event) -> None:
    while not stop.is_set():
        upserts.send()


class Repeated:
    """As a context manager: searches one after the other on a thread of its own."""

    def __init__(self, card: Card, search: Callable[[], Any]) -> None:
        self._card, self._search = card, search
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Repeated:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            begin = time.perf_counter()
            self._card.on_worker(self._search)
            self.seconds.append(time.perf_counter() - begin)
