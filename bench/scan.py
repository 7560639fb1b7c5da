"""The scan by itself, in this process and on all cores: ns a pair of anchor and row, against FAISS, USearch and numpy.

Random codes, so distances crowd together and no row is far off. What the machine could do is measured in between:
popcounts on data in the L1 cache, and reading memory. USearch and numpy run up to 1e6 rows and 32 anchors; a call of
more than five seconds is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
from harness.ceiling import Ceiling, simd, threads
from harness.peers import FaissFlat, FaissRaBitQ, numpy_exact, usearch_exact
from harness.result import Result
from harness.shards import Shards
from harness.synthetic import BLOCK_ROWS, Clusters, Neighbours, Truth
from harness.timing import Timed, alternate
from negmine.encoder import Encoder
from negmine_server.domain import Candidates, Query, Version
from numpy.typing import NDArray

WIDTHS = (128, 256, 512, 1024)
SIZES = {"1e5": 100_000, "1e6": 1_000_000, "1e7": 10_000_000}
ANCHORS = (1, 32, 1024)
KS = (16, 100)
HEADLINE = (256, 1024, "1e6")
HEADLINE_K = 64
SMALL_ROWS, SMALL_ANCHORS = 1_000_000, 32  # up to which the slower peers run
RATIO = 4.0
ROUNDS = 9
SECONDS = 1.2
HEADLINE_SECONDS = 8.0
CHECKED = 2
FILTERED_SHARE = 30  # each filter takes away one row in so many
STEPS_BEHIND = 5
CLUSTERS_SCANNED = 2_000
TRUTH_ANCHORS = 256

U64 = NDArray[np.uint64]


def run(scale: float) -> list[Result]:
    """`scan.hamming.…`, `scan.filters.…` and `scan.asymmetric.…`."""
    with Ceiling(max(int(scale * (1 << 30)), 64 << 20)) as ceiling:
        results = [result for bits in WIDTHS for result in hamming(bits, scale, ceiling)]
    results.append(filters(int(SIZES["1e6"] * scale)))
    results += [asymmetric(bits, int(SIZES["1e6"] * scale)) for bits in WIDTHS]
    return results


def random_codes(n: int, bits: int) -> U64:
    """Codes [n, W] of independent bits."""
    return np.random.default_rng(bits).integers(0, 2**64, (n, bits // 64), np.uint64)


# -- symmetric --


@dataclass(frozen=True)
class Cell:
    """One figure's sizes, and what is measured."""

    bits: int
    label: str
    codes: U64  # [n, W], the rows
    anchors: U64  # [B, W]
    k: int

    @property
    def pairs(self) -> int:
        """Anchors times rows."""
        return len(self.anchors) * len(self.codes)

    @property
    def is_headline(self) -> bool:
        """Whether this is the cell that the targets are about."""
        return (self.bits, len(self.anchors), self.label, self.k) == (*HEADLINE, HEADLINE_K)

    @property
    def name(self) -> str:
        """Of the figure; k is in it where it is not the cell's first."""
        main = HEADLINE_K if (self.bits, len(self.anchors), self.label) == HEADLINE else KS[0]
        name = f"scan.hamming.{self.bits}.b{len(self.anchors)}.n{self.label}"
        return name if self.k == main else f"{name}.k{self.k}"


def hamming(bits: int, scale: float, ceiling: Ceiling) -> list[Result]:
    """All figures of one width; the rows grow from size to size."""
    codes = random_codes(int(max(SIZES.values()) * scale), bits)
    anchors = random_codes(max(ANCHORS), bits + 1)
    flat = FaissFlat(bits)
    results: list[Result] = []
    filled = 0
    with Shards(Encoder(bits, bits)) as shards:
        for label, size in SIZES.items():
            n = int(size * scale)
            ids = np.arange(filled, n)
            shards.add(ids, codes[filled:n])
            flat.add(codes[filled:n])
            filled = n
            for b in ANCHORS:
                ks = (HEADLINE_K, *KS) if (bits, b, label) == HEADLINE else KS
                for k in ks:
                    cell = Cell(bits, label, codes[:n], anchors[:b], k)
                    results += measure(cell, shards, flat, ceiling)
    return results


def measure(cell: Cell, shards: Shards, flat: FaissFlat, ceiling: Ceiling) -> list[Result]:
    """One cell, and its share of the machine's ceiling where that has a target."""
    query = shards.symmetric(cell.anchors)
    setting = flat.settle(cell.anchors, cell.k)
    pair_ns: list[float] = []
    read_gb_s: list[float] = []
    sides: dict[str, Callable[[], Any]] = {
        "ours": lambda: shards.search(query, cell.k),
        "faiss": lambda: flat.search(cell.anchors, cell.k),
        "ceiling": lambda: pair_ns.append(ceiling.pair_ns(cell.bits)),
    }
    if len(cell.anchors) == 1:
        sides["memory"] = lambda: read_gb_s.append(ceiling.read_gb_s())
    timed = alternate(sides, rounds=ROUNDS, seconds=HEADLINE_SECONDS if cell.is_headline else SECONDS)
    slow: dict[str, Timed] = {}
    if len(cell.codes) <= SMALL_ROWS and len(cell.anchors) <= SMALL_ANCHORS:
        slower = {"usearch": usearch_exact, "numpy": numpy_exact}
        calls = {name: make(cell.codes, cell.anchors, cell.k) for name, make in slower.items()}
        slow = alternate(calls, rounds=2, seconds=SECONDS / 2)
    check(cell, timed, slow)
    ns = {name: side.median_s * 1e9 / cell.pairs for name, side in (timed | slow).items()}
    share = median(pair_ns) / ns["ours"]
    params: dict[str, Any] = {"rows": len(cell.codes), "anchors": len(cell.anchors), "k": cell.k, "bits": cell.bits}
    params |= {"threads": threads(), "simd": simd(), "rounds": len(timed["ours"].seconds), "faiss": setting}
    params |= {"usearch_ns": ns.get("usearch"), "numpy_ns": ns.get("numpy")}
    params |= {"ceiling_ns": median(pair_ns), "ceiling": ceiling.kind, "share_of_ceiling": share}
    target = ns["faiss"] / RATIO if cell.bits == 256 and len(cell.anchors) > 1 and cell.label == "1e6" else None
    peer = "FAISS IndexBinaryFlat"
    results = [Result(cell.name, ns["ours"], "ns/pair", "lower", target, peer, ns["faiss"], params)]
    if cell.is_headline:
        results.append(Result(f"{cell.name}.ceiling", share, "share", "higher", 0.8, params=params))
    if read_gb_s:
        gb_s = cell.bits / 8 / ns["ours"]
        params |= {"read_gb_s": gb_s, "memory_gb_s": median(read_gb_s)}
        if (cell.bits, cell.label, cell.k) == (256, "1e7", KS[0]):
            value = gb_s / median(read_gb_s)
            results.append(Result(f"{cell.name}.bandwidth", value, "share", "higher", 0.7, params=params))
    return results


def check(cell: Cell, timed: dict[str, Timed], slow: dict[str, Timed]) -> None:
    """Distances of all anchors against the peers, ids of some against numpy."""
    found: Candidates = timed["ours"].answer
    distances = np.rint(np.arccos(np.clip(found.scores, -1, 1)) * cell.bits / np.pi).astype(np.int32)
    np.testing.assert_array_equal(distances, timed["faiss"].answer)
    if "usearch" in slow:
        np.testing.assert_array_equal(distances, slow["usearch"].answer)
    if "numpy" in slow:
        np.testing.assert_array_equal(found.ids, slow["numpy"].answer)
    else:
        wanted = numpy_exact(cell.codes, cell.anchors[:CHECKED], cell.k)()
        np.testing.assert_array_equal(found.ids[:CHECKED], wanted)


# -- filters --


def filters(n: int) -> Result:
    """`scan.filters.256.b1024.n1e6`: a scan with all filters over the same scan without, which is the peer."""
    bits, b = HEADLINE[:2]
    codes, anchors = random_codes(n, bits), random_codes(b, bits + 1)
    random = np.random.default_rng(0)
    groups = random.integers(0, FILTERED_SHARE, n)
    tags = np.where(random.integers(0, FILTERED_SHARE, n) == 0, 3, 2).astype(np.uint64)
    steps = np.where(random.integers(0, FILTERED_SHARE, n) == 0, 0, STEPS_BEHIND)
    versions = np.array([Version(0, step).pack() for step in (0, STEPS_BEHIND)])[(steps > 0).astype(int)]
    sample = np.bitwise_count(codes ^ anchors[0]).sum(axis=1)
    with Shards(Encoder(bits, bits)) as shards:
        shards.add(np.arange(n), codes, groups=groups, tags=tags, versions=versions)
        plain = shards.symmetric(anchors)
        marks = {
            "group": {"exclude_groups": np.arange(b) % FILTERED_SHARE},
            "tags": {"require_tags": np.full(b, 2, np.uint64), "forbid_tags": np.full(b, 1, np.uint64)},
            "step": {"min_steps": np.full(b, STEPS_BEHIND)},
            "ceiling": {"after_scores": np.full(b, ceiling_above(sample, 1e-4, bits), np.float32)},
        }
        together = {name: value for mark in marks.values() for name, value in mark.items()}
        strict = {"after_scores": np.full(b, ceiling_above(sample, 1e-2, bits), np.float32)}
        queries = {"plain": plain, "all": replace(plain, **together)}
        queries |= {name: replace(plain, **mark) for name, mark in marks.items()}
        queries["ceiling_1_percent"] = replace(plain, **strict)
        calls = {name: searching(shards, query) for name, query in queries.items()}
        timed = alternate(calls, rounds=ROUNDS, seconds=HEADLINE_SECONDS)
    keep = (groups != 0) & (tags == 2) & (steps > 0)  # the first anchor's group is 0
    distances = sample.astype(np.int64)
    above = np.cos(np.pi * distances / bits).astype(np.float32) > together["after_scores"][0]
    order = np.lexsort((np.arange(n), distances))
    np.testing.assert_array_equal(timed["all"].answer.ids[0], order[(keep & ~above)[order]][:HEADLINE_K])
    base = timed["plain"].median_s
    params: dict[str, Any] = {"rows": n, "anchors": b, "k": HEADLINE_K, "filtered_share": 1 - float(keep.mean())}
    params |= {"ceiling_share": float(above.mean()), "rounds": len(timed["all"].seconds), "threads": threads()}
    params["each"] = {name: side.median_s / base for name, side in timed.items()}
    params["ns_per_pair"] = base * 1e9 / (n * b)
    return Result("scan.filters.256.b1024.n1e6", timed["all"].median_s / base, "x", "lower", 1.2, params=params)


def ceiling_above(distances: NDArray[Any], share: float, bits: int) -> float:
    """A score between two distances that leaves out about this share of the rows, the nearest."""
    return float(np.cos(np.pi * (np.quantile(distances, share) - 0.5) / bits))


def searching(shards: Shards, query: Query) -> Callable[[], Candidates]:
    """The call that is timed."""
    return lambda: shards.search(query, HEADLINE_K)


# -- asymmetric --


def asymmetric(bits: int, n: int) -> Result:
    """`scan.asymmetric.<bits>.b1024.n1e6`, on clustered vectors of as many dimensions as bits."""
    clusters = Clusters(bits, CLUSTERS_SCANNED)
    encoder = Encoder(bits, bits)
    anchors = clusters.queries(max(ANCHORS))
    truth = Truth(anchors[:TRUTH_ANCHORS], HEADLINE_K)
    faiss = FaissRaBitQ(bits, clusters.block(0)[: min(n, BLOCK_ROWS)] @ encoder.rotation.T)
    with Shards(encoder) as shards:
        for ids, rows in clusters.blocks(0, n):
            encoded = encoder.encode(rows)
            shards.add(ids, encoded.words, corrections=encoded.corrections)
            faiss.add(rows @ encoder.rotation.T)
            truth.see(ids, rows)
        query, rotated = shards.asymmetric(anchors), anchors @ encoder.rotation.T
        symmetric = shards.symmetric(encoder.encode(anchors).words)
        sides: dict[str, Callable[[], Any]] = {
            "ours": lambda: shards.search(query, HEADLINE_K).ids,
            "faiss": lambda: faiss.search(rotated, HEADLINE_K),
            "symmetric": lambda: shards.search(symmetric, HEADLINE_K).ids,
        }
        timed = alternate(sides, rounds=ROUNDS, seconds=2 * SECONDS)
    exact = Neighbours(anchors[:TRUTH_ANCHORS], truth.ids)
    ns = {name: side.median_s * 1e9 / (n * len(anchors)) for name, side in timed.items()}
    params: dict[str, Any] = {"rows": n, "anchors": len(anchors), "k": HEADLINE_K, "bits": bits, "data": clusters.name}
    params |= {"rounds": len(timed["ours"].seconds), "threads": threads(), "simd": simd(), "ns": ns}
    params["recall_at_64"] = {name: exact.recall(side.answer[:TRUTH_ANCHORS]) for name, side in timed.items()}
    name = f"scan.asymmetric.{bits}.b1024.n1e6"
    return Result(name, ns["ours"], "ns/pair", "lower", None, faiss.name, ns["faiss"], params)
