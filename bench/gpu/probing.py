"""Where looking at a few buckets beats looking at everything: the same search over a growing share of the buckets.

Buckets are equal in size and probes are random, so anchors of a batch share no more of them than chance has it, which
is the worst that probing can meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from harness.result import Result
from negmine_server.domain import Candidates, Scoring
from negmine_server.index.blocks import Allocation

from gpu.card import Card
from gpu.rows import Kept
from gpu.scans import K, Sizes, query_of, timings

BITS, ROWS = 256, "1e7"
BUCKET_BLOCKS = 16
SHARES = (0.005, 0.02, 0.08)
ANCHORS = (64, 1024)
ROUNDS, SECONDS = 20, 3.0

Cell = Callable[[Card], Iterable[Result]]


def cells() -> Iterator[tuple[str, Cell]]:
    """`gpu.probing.…`."""
    kept = Kept()
    for b in ANCHORS:
        yield f"gpu.probing.b{b}", partial(measure, b, kept)


def measure(b: int, kept: Kept, card: Card) -> list[Result]:
    """Times the exact scan takes longer, for each share of the buckets."""
    table = kept.table(card, BITS, ROWS)
    blocks = len(table.view.counts)
    bucket_blocks = 1 if card.small else BUCKET_BLOCKS
    buckets = -(-blocks // bucket_blocks)
    owners = (np.arange(blocks) // bucket_blocks).astype(np.int32)
    view = replace(table.view, allocation=Allocation(owners, {slot + 1: slot for slot in range(buckets)}))
    query = query_of(Sizes(Scoring.SYMMETRIC, BITS, b, ROWS), card)
    searcher = table.searcher()
    random = np.random.default_rng(0)
    sides: dict[str, Callable[[], Candidates]] = {"exact": partial(searcher.top_r, view, query, card.k(K))}
    for share in SHARES:
        probed = replace(query, probes=probes(random, query.rows, buckets, share))
        sides[str(share)] = partial(searcher.top_r, view, probed, card.k(K), insist=True)
    timed = card.on_worker(lambda: timings(card, sides, ROUNDS, SECONDS))
    ms = {name: side.median_s * 1e3 for name, side in timed.items()}
    params: dict[str, Any] = {"rows": table.rows, "anchors": query.rows, "k": card.k(K), "bits": BITS}
    params |= {"buckets": buckets, "ms": ms, "data": "random bits", "probes": "random"}
    return [
        Result(
            f"gpu.probing.{BITS}.b{b}.n{ROWS}.share{share}",
            ms["exact"] / ms[str(share)],
            "×",
            "higher",
            None,
            "exact scan",
            params=params | {"share": share, "scanned": timed[str(share)].answer.scanned},
        )
        for share in SHARES
    ]


def probes(random: np.random.Generator, anchors: int, buckets: int, share: float) -> np.ndarray[Any, np.dtype[Any]]:
    """Numbers [B, P] of different buckets for each anchor."""
    wanted = max(1, round(share * buckets))
    step = random.integers(1, max(2, buckets // wanted), (anchors, 1))
    first = random.integers(0, buckets, (anchors, 1))
    return (first + step * np.arange(wanted)) % buckets + 1
