"""Exhaustive scans: ours on tensor cores against the tuned popc kernel in the same search, and against torch.

Sides alternate in one process, and their answers are compared. The rows are random bits, so that distances crowd
together; they are far larger than the card's cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from harness.result import Result
from harness.timing import Timed, alternate
from negmine_server.domain import Candidates, Query, Scoring

from gpu import anchors
from gpu.card import Card
from gpu.grid import ANCHORS, WIDTHS
from gpu.peers import TorchProducts, faiss_flat, unpacked
from gpu.rows import Kept, Table

K = 100
ROUNDS, SECONDS = 24, 16.0
SLOW_ROUNDS, SLOW_SECONDS = 3, 6.0
FULL_SECONDS = 5.0  # of a cell of the full grid
SLOW_S = 1.0  # a call that takes longer needs no second one to warm up
POPC_MAX = 4e14  # anchors × rows × bits, beyond which the popc kernel would take many seconds a call
CHECKED = 4  # anchors of such a cell that it is asked about all the same
TORCH_ROWS_MAX = 100_000_000
FAISS_ROWS_MAX = 10_000_000
POPC = "tuned popc kernel, same search"
POPC_4 = "tuned popc kernel over 4 query bit-planes, same search"
HEADLINES = {  # name: milliseconds, times the popc kernel
    "gpu.hamming.256.b1024.n1e8": (12.0, 8.0),
    "gpu.asymmetric.256.b1024.n1e8": (60.0, 5.0),
}
MEMORY_BOUND = ("gpu.hamming.256.b64.n1e8", 1 / 1.5)  # share of the time that reading the codes takes

Cell = Callable[[Card], Iterable[Result]]


@dataclass(frozen=True)
class Sizes:
    """What a cell is about; labels as in figures' names."""

    scoring: Scoring
    bits: int
    b: int
    n: str
    torch: bool = False
    faiss: bool = False
    seconds: float = SECONDS

    @property
    def name(self) -> str:
        """Of the figure."""
        kind = "hamming" if self.scoring is Scoring.SYMMETRIC else "asymmetric"
        return f"gpu.{kind}.{self.bits}.b{self.b}.n{self.n}"


def hamming() -> Iterator[tuple[str, Cell]]:
    """The fixed grid, symmetric."""
    yield "gpu.roofline.card", lambda card: card.on_worker(lambda: card.rooflines).results()
    yield from _cells(
        [
            Sizes(Scoring.SYMMETRIC, 256, 1024, "1e8", torch=True),
            Sizes(Scoring.SYMMETRIC, 256, 64, "1e8"),
            Sizes(Scoring.SYMMETRIC, 256, 1, "1e8"),
            Sizes(Scoring.SYMMETRIC, 256, 1024, "1e7", torch=True, faiss=True),
        ]
    )


def asymmetric() -> Iterator[tuple[str, Cell]]:
    """The fixed grid, asymmetric."""
    yield from _cells(
        [
            Sizes(Scoring.ASYMMETRIC, 256, 1024, "1e8", torch=True),
            Sizes(Scoring.ASYMMETRIC, 256, 64, "1e8"),
            Sizes(Scoring.ASYMMETRIC, 256, 1024, "1e7", torch=True),
        ]
    )


def sizes(n: str, *widths: str) -> Iterator[tuple[str, Cell]]:
    """The whole grid of one number of rows."""
    assert set(map(int, widths)) <= set(WIDTHS), widths
    scorings = (Scoring.SYMMETRIC, Scoring.ASYMMETRIC)
    shapes = [(int(bits), scoring, b) for bits in widths for scoring in scorings for b in ANCHORS]
    yield from _cells([Sizes(scoring, bits, b, n, seconds=FULL_SECONDS) for bits, scoring, b in shapes])


def _cells(wanted: Iterable[Sizes]) -> Iterator[tuple[str, Cell]]:
    kept = Kept()
    for cell in wanted:
        yield cell.name, partial(measure, cell, kept)


def measure(cell: Sizes, kept: Kept, card: Card) -> list[Result]:
    """One cell: the ratio first, then the time, then its share of what the card could do."""
    table = kept.table(card, cell.bits, cell.n)
    query, k = query_of(cell, card), card.k(K)
    return card.on_worker(lambda: _measured(cell, card, table, query, k))


def query_of(cell: Sizes, card: Card) -> Query:
    """Random anchors; int8 values of four bits, so that four bit-planes hold them too."""
    random = np.random.default_rng(cell.bits + cell.b)
    b = card.anchors(cell.b)
    if cell.scoring is Scoring.SYMMETRIC:
        return anchors.symmetric(random.integers(0, 2**64, (b, cell.bits // 64), np.uint64))
    values = np.clip(np.rint(random.standard_normal((b, cell.bits)) * 3), -8, 7).astype(np.int8)
    return anchors.asymmetric(values, random.uniform(0.01, 0.02, b).astype(np.float32))


def _measured(cell: Sizes, card: Card, table: Table, query: Query, k: int) -> list[Result]:
    ours, popc = table.searcher(), table.searcher("popc", "planes4")
    sides: dict[str, Callable[[], Candidates]] = {"ours": partial(ours.top_r, table.view, query, k)}
    checked = query.rows
    if query.rows * table.rows * cell.bits <= POPC_MAX:
        sides["popc"] = partial(popc.top_r, table.view, query, k)
    else:
        checked = min(checked, CHECKED)
    timed: dict[str, Timed] = timings(card, sides, ROUNDS, cell.seconds)
    params: dict[str, Any] = {"rows": table.rows, "anchors": query.rows, "k": k, "bits": cell.bits}
    params |= {"data": "random bits", "rounds": len(timed["ours"].seconds)}
    params["syncs"] = syncs(card, sides["ours"])
    found: Candidates = timed["ours"].answer
    wanted = timed["popc"].answer if "popc" in timed else popc.top_r(table.view, query.take(slice(0, checked)), k)
    for field in ("ids", "scores", "counts"):
        np.testing.assert_array_equal(getattr(found, field)[:checked], getattr(wanted, field))
    slow = _slow(cell, card, table, query, k, params)
    if "torch" in slow:
        np.testing.assert_array_equal(as_products(found, query, cell), slow["torch"].answer.cpu().numpy())
    ms = {name: side.median_s * 1e3 for name, side in (timed | slow).items()}
    params["ms"] = ms
    bound = _bounds(cell, card, table, query)
    params["share"] = {name: seconds * 1e3 / ms["ours"] for name, seconds in bound.items()}
    return list(_figures(cell, ms, params))


def _figures(cell: Sizes, ms: dict[str, float], params: dict[str, Any]) -> Iterator[Result]:
    target_ms, target_ratio = HEADLINES.get(cell.name, (None, None))
    peer = POPC if cell.scoring is Scoring.SYMMETRIC else POPC_4
    if "popc" in ms:
        yield Result(f"{cell.name}.vs_popc", ms["popc"] / ms["ours"], "×", "higher", target_ratio, peer, params=params)
    yield Result(cell.name, ms["ours"], "ms", "lower", target_ms, peer if "popc" in ms else "", ms.get("popc"), params)
    for name in ("torch", "faiss"):
        if name in ms:
            label = TorchProducts.name if name == "torch" else "FAISS GpuIndexBinaryFlat"
            yield Result(f"{cell.name}.vs_{name}", ms[name] / ms["ours"], "×", "higher", None, label, params=params)
    if cell.n == "1e8" and cell.b > 1 and cell.bits == 256:
        # The bound that takes longest is the one that the kernel can reach.
        limiting = max(params["share"], key=lambda name: params["share"][name])
        target = MEMORY_BOUND[1] if cell.name == MEMORY_BOUND[0] else None
        share = params["share"][limiting]
        name = cell.name.replace("gpu.", "gpu.roofline.", 1)
        yield Result(name, share, "share", "higher", target, params=params | {"of": limiting})


def _bounds(cell: Sizes, card: Card, table: Table, query: Query) -> dict[str, float]:
    """The seconds that each of the card's ceilings allows no less than."""
    lines = card.rooflines
    operations = 2.0 * query.rows * table.rows * cell.bits
    tensor = lines.bit_operations if cell.scoring is Scoring.SYMMETRIC else lines.int8_operations
    return {"memory": table.code_bytes / lines.read_bytes, "tensor": operations / tensor}


def _slow(cell: Sizes, card: Card, table: Table, query: Query, k: int, params: dict[str, Any]) -> dict[str, Timed]:
    """What torch and FAISS take, where they are asked for and there is room."""
    sides: dict[str, Callable[[], Any]] = {}
    torches = None
    if cell.torch and table.rows <= TORCH_ROWS_MAX and card.fits(table.bytes + table.rows * (cell.bits + 4)):
        signs, corrections = table.signs()
        torches = TorchProducts(signs, corrections if cell.scoring is Scoring.ASYMMETRIC else None)
        values = values_of(query, card)
        scales = torch.from_numpy(query.scales).to(card.gpu.torch_device)
        sides["torch"] = lambda: (torches.search(values, scales, k), card.wait())[0]
    if cell.faiss and table.rows <= FAISS_ROWS_MAX:
        made = faiss_flat(table.codes_on_host(), query.codes, k)
        if isinstance(made, str):
            params["faiss"] = made
        else:
            sides["faiss"] = made
    return timings(card, sides, SLOW_ROUNDS, SLOW_SECONDS, warm=1) if sides else {}


def values_of(query: Query, card: Card) -> torch.Tensor:
    """The anchors as int8 [B, bits]: their values, or +1 and -1 after their codes' bits."""
    if query.values is not None:
        return torch.from_numpy(query.values).to(card.gpu.torch_device)
    return unpacked(torch.from_numpy(query.codes.view(np.int64)).to(card.gpu.torch_device))


def as_products(found: Candidates, query: Query, cell: Sizes) -> Any:
    """Scores as torch's products give them: symmetric ones from the cosine of a distance."""
    if cell.scoring is Scoring.ASYMMETRIC:
        return found.scores
    distances = np.rint(np.arccos(np.clip(found.scores, -1, 1)) * cell.bits / np.pi)
    return (cell.bits - 2 * distances).astype(np.int32)


def timings(
    card: Card, sides: dict[str, Callable[[], Any]], rounds: int, seconds: float, warm: int = 3
) -> dict[str, Timed]:
    """The sides in turns, after calls of each that warm up: the first compiles, the second captures."""
    for call in sides.values():
        for _ in range(1 if card.small else warm):
            begin = time.perf_counter()
            call()
            if time.perf_counter() - begin > SLOW_S:
                break
    card.wait()
    return alternate(sides, rounds=card.rounds(rounds), seconds=seconds)


def syncs(card: Card, call: Callable[[], Any]) -> float:
    """How often one call makes the host wait."""
    before = card.syncs()
    call()
    return card.syncs() - before
