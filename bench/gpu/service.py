"""End to end: a server with `--device cuda` in a process of its own, over gRPC, against the same server on CPU."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from harness.result import Result
from harness.server import Server
from harness.timing import alternate

from gpu.card import Card, Skipped

if TYPE_CHECKING:
    import negmine

BITS, DIMENSION, K = 256, 384, 16
ROWS = 4_000_000
ANCHORS = (64, 1024)
BATCH_ROWS = 65_536
ROUNDS, SECONDS = 40, 6.0
NEEDED = ("grpc", "google.rpc", "grpc_status", "grpc_health", "grpc_reflection", "pydantic_settings", "negmine")
FLAGS = ("--anchors-max", "4096", "--batch-anchors-max", "1024", "--bucket-from-rows", "1000000000")

Cell = Callable[[Card], Iterable[Result]]


def cells() -> Iterator[tuple[str, Cell]]:
    """`gpu.service.…`."""
    yield "gpu.service", measure


def measure(card: Card) -> list[Result]:
    """Upserts of codes, durable, then mining at two batch sizes."""
    check_needs()
    n = 3_000 if card.small else ROWS
    codes = np.random.default_rng(0).integers(0, 2**64, (n, BITS // 64), np.uint64)
    devices = {"gpu": ("--device", "cpu" if card.small else "cuda"), "cpu": ("--device", "cpu")}
    results: list[Result] = []
    rates: dict[str, float] = {}
    collections: dict[str, negmine.Collection] = {}
    import negmine

    with Server(*devices["gpu"], *FLAGS) as ours, Server(*devices["cpu"], *FLAGS) as theirs:
        for name, server in (("gpu", ours), ("cpu", theirs)):
            collection = negmine.Client(server.target).create_collection("bench", DIMENSION, bits=BITS)
            rates[name] = upserted(collection, codes)
            collections[name] = collection
        params: dict[str, Any] = {"rows": n, "bits": BITS, "durable": True, "processes": "client and two servers"}
        results.append(
            Result("gpu.service.upsert", rates["gpu"], "rows/s", "higher", None, "on CPU", rates["cpu"], params)
        )
        results += [mined(card, collections, b, params) for b in ANCHORS]
    return results


def check_needs() -> None:
    """Skips where the server's or the client's packages are missing; names them all."""
    missing = []
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            missing.append(error.name or name)
    if missing:
        raise Skipped(f"not installed: {', '.join(dict.fromkeys(missing))}")


def upserted(collection: negmine.Collection, codes: np.ndarray) -> float:
    """Rows a second, to the last ack."""
    import negmine

    fingerprint = collection.encoder().fingerprint
    begin = time.perf_counter()
    for first in range(0, len(codes), BATCH_ROWS):
        words = codes[first : first + BATCH_ROWS]
        ones = np.ones(len(words), np.float32)
        collection.upsert(np.arange(first, first + len(words)), negmine.Codes(words, ones / 12, ones, fingerprint))
    return len(codes) / (time.perf_counter() - begin)


def mined(card: Card, collections: dict[str, Any], b: int, params: dict[str, Any]) -> Result:
    """Milliseconds of a Mine, exact and symmetric, at the client; both servers in turns."""
    anchors = card.anchors(b)
    embeddings = np.random.default_rng(1).standard_normal((anchors, DIMENSION)).astype(np.float32)

    def mine(name: str) -> Any:
        return collections[name].mine(embeddings, K, scoring="symmetric", exact=True).ids

    sides = {name: lambda name=name: mine(name) for name in collections}
    for call in sides.values():
        call()
    timed = alternate(sides, rounds=card.rounds(ROUNDS), seconds=SECONDS)
    np.testing.assert_array_equal(timed["gpu"].answer, timed["cpu"].answer)
    ms = {name: side.median_s * 1e3 for name, side in timed.items()}
    shape = {"anchors": anchors, "k": K, "rounds": len(timed["gpu"].seconds)}
    name = f"gpu.service.mine.{BITS}.b{b}.n4e6"
    return Result(name, ms["gpu"], "ms", "lower", None, "on CPU", ms["cpu"], params | shape)
