"""Small batches over few rows, where launching and waiting cost more than scanning: with and without a CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from harness.result import Result
from harness.timing import alternate
from negmine_server.domain import Candidates, Scoring

from gpu.card import Card
from gpu.rows import Kept
from gpu.scans import K, Sizes, query_of, syncs

BITS = 256
SIZES = (("1e6", 1), ("1e6", 64))
ROUNDS, SECONDS = 300, 4.0
OVERHEAD_US = 100.0  # tens of microseconds over the scan
SYNCS = 1.0

Cell = Callable[[Card], Iterable[Result]]


def cells() -> Iterator[tuple[str, Cell]]:
    """`gpu.latency.…`."""
    kept = Kept()
    for scoring in (Scoring.SYMMETRIC, Scoring.ASYMMETRIC):
        for n, b in SIZES:
            cell = Sizes(scoring, BITS, b, n)
            yield cell.name, partial(measure, cell, kept)


def measure(cell: Sizes, kept: Kept, card: Card) -> list[Result]:
    """Microseconds of a search; the peer launches its kernels one by one."""
    table = kept.table(card, cell.bits, cell.n)
    query, k = query_of(cell, card), card.k(K)
    searcher = table.searcher()
    captures = card.gpu.captures

    def search(captured: bool) -> Candidates:
        card.gpu.captures = captures and captured
        return searcher.top_r(table.view, query, k)

    def measured() -> tuple[dict[bool, Any], float]:
        sides = {captured: partial(search, captured) for captured in (True, False)}
        for _ in range(3):
            for call in sides.values():
                call()
        timed = alternate(sides, rounds=card.rounds(ROUNDS), seconds=SECONDS)
        return timed, syncs(card, sides[True])

    timed, waits = card.on_worker(measured)
    card.gpu.captures = captures
    us = {captured: side.median_s * 1e6 for captured, side in timed.items()}
    scan_us = table.code_bytes / card.on_worker(lambda: card.rooflines).read_bytes * 1e6
    params: dict[str, Any] = {"rows": table.rows, "anchors": query.rows, "k": k, "bits": cell.bits}
    params |= {"rounds": len(timed[True].seconds), "reading_the_codes_us": scan_us, "captured": captures}
    name = cell.name.replace("gpu.", "gpu.latency.", 1)
    target = scan_us + OVERHEAD_US if cell.b == 64 and cell.scoring is Scoring.SYMMETRIC else None
    return [
        Result(name, us[True], "µs", "lower", target, "launch by launch", us[False], params),
        Result(f"{name}.syncs", waits, "waits", "lower", SYNCS, params=params),
    ]
