"""Recall@64 of the true cosine neighbours against ms per 1,024 queries: recall/latency curves of the probed scan.

The peers are FAISS's approximate indexes. Those that search codes have the collection's own codes, and rescore their
candidates on the same stored int8 vectors. Ours is a server over gRPC: the time is that of its scan and rescoring, as
the peers' is that of their search and rescoring, with the anchors encoded; the wall time of the call is beside it.
Three sets: WordNet's glosses, and 1e6 and 1e7 synthetic clustered rows. The graphs (HNSW) are built for 1e6 rows and
the glosses only: 1e7 would take more than an hour on two cores.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import negmine
import numpy as np
from harness import candidates, plot
from harness.candidates import Built, Setting
from harness.ceiling import simd, threads
from harness.corpus import glosses
from harness.curves import Curve, Point
from harness.mining import fill, memory_bytes, scan_ms
from harness.rescoring import Stored
from harness.result import Result
from harness.server import Server
from harness.synthetic import BLOCK_ROWS, SIZES, Clusters, Neighbours, Truth, neighbours
from harness.timing import alternate
from negmine.encoder import Encoder
from numpy.typing import NDArray

QUERIES = 1024
K = 64
WANTED = 0.95
RATIO = 5.0
TARGETS = (0.8, 0.9, 0.95, 0.99)
SCORINGS: tuple[Any, ...] = ("symmetric", "asymmetric")
POOLS = (256, 1024, 4096)
ROUNDS = 3
SECONDS = 150.0
EXACT_ASYMMETRIC_ROWS = 1_000_000  # above, an exhaustive asymmetric scan of 1,024 anchors would take minutes
CALL_S = 600.0

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Data:
    """Rows [n, d] of unit length and their ids, the true neighbours of queries, and what runs on them."""

    label: str
    name: str
    rows: F32
    truth: Neighbours
    widths: tuple[int, ...]
    graphs: bool

    def blocks(self) -> Iterable[tuple[I64, F32]]:
        """Ids and rows, in pieces."""
        for start in range(0, len(self.rows), BLOCK_ROWS):
            rows = self.rows[start : start + BLOCK_ROWS]
            yield np.arange(start, start + len(rows)), rows


@dataclass
class Ours:
    """A collection of one width with the settings that are tried, and its times."""

    collection: negmine.Collection
    bits: int
    build_s: float
    memory_bytes: int
    settings: list[dict[str, Any]]
    scan_ms: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))

    def mine(self, number: int, queries: F32) -> I64:
        """Ids [B, 64] under a setting."""
        found = self.collection.mine(queries, K, rescore=True, timeout_s=CALL_S, **self.settings[number])
        self.scan_ms[number].append(scan_ms(found))
        return np.asarray(found.ids)


def run(scale: float) -> list[Result]:
    """`recall.<data>.<index>.<bits>`, and of all widths of the largest set `recall.probe.1e7`."""
    results: list[Result] = []
    drawn: dict[str, list[Curve]] = {}
    for make in (wordnet, million, ten_million):
        data = make(scale)
        curves = measure(data)
        drawn[data.name] = curves
        results += figures(data, curves)
        if data.label == "1e7":
            results.append(headline(data, curves))
        del data
    if scale == 1:
        plot.recall(drawn)
    return results


# -- data --


def wordnet(scale: float) -> Data:
    """The glosses; 1,024 of them, held out, are the queries."""
    rows = glosses(max(scale, 0.1))
    embeddings = rows.embeddings / np.linalg.norm(rows.embeddings, axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(len(embeddings))
    queries, kept = embeddings[order[:QUERIES]], embeddings[np.sort(order[QUERIES:])]
    truth = Truth(queries, K)
    for start in range(0, len(kept), BLOCK_ROWS):
        part = kept[start : start + BLOCK_ROWS]
        truth.see(np.arange(start, start + len(part)), part)
    return Data("wordnet", rows.data, kept, Neighbours(queries, truth.ids), (256, 512), graphs=True)


def million(scale: float) -> Data:
    """1e6 clustered rows."""
    return synthetic("1e6", 1_000_000, scale, (256,), graphs=True)


def ten_million(scale: float) -> Data:
    """1e7 clustered rows."""
    return synthetic("1e7", 10_000_000, scale, (256, 512), graphs=False)


def synthetic(label: str, size: int, scale: float, widths: tuple[int, ...], *, graphs: bool) -> Data:
    """The first rows of the clustered set; the truth is made once for all sizes."""
    clusters = Clusters()
    sizes = [int(full * scale) for full in SIZES]
    n = int(size * scale)
    truth = neighbours(clusters, sizes, QUERIES, K)[n]
    rows = np.empty((n, clusters.dimension), np.float32)
    for ids, block in clusters.blocks(0, n):
        rows[ids] = block
    return Data(label, clusters.name, rows, truth, widths, graphs)


# -- measuring --


def measure(data: Data) -> list[Curve]:
    """A curve of every index on this data; their calls take turns."""
    queries = data.truth.queries
    kept = Stored(data.rows)
    encoders = {bits: Encoder(data.rows.shape[1], bits) for bits in data.widths}
    anchors = {bits: encoder.encode(queries).words for bits, encoder in encoders.items()} | {0: queries}
    peers = build(data, encoders, anchors)
    sides: dict[tuple[str, int, int], Callable[[], I64]] = {}
    for peer in peers:
        for number, setting in enumerate(peer.settings):
            sides[peer.slug, peer.bits, number] = searching(peer, setting, queries, anchors[peer.bits], kept)
    with Server() as server, negmine.Client(server.target, timeout_s=CALL_S) as client:
        collections = [ours(client, data, bits) for bits in data.widths]
        for own in collections:
            for number in range(len(own.settings)):
                sides["negmine", own.bits, number] = mining(own, number, queries)
        timed = alternate(sides, rounds=ROUNDS, seconds=SECONDS * min(1.0, len(data.rows) / 100_000))
    curves = []
    for own in collections:
        points = []
        for number, setting in enumerate(own.settings):
            side = timed["negmine", own.bits, number]
            ms = median(own.scan_ms[number][-len(side.seconds) :])
            points.append(point(data, side.answer, ms, setting | {"wall_ms": side.median_s * 1e3}))
        memory = own.memory_bytes
        curves.append(Curve("negmine", f"negmine.{own.bits}", own.bits, memory, own.build_s, tuple(points)))
    for peer in peers:
        sided = [timed[peer.slug, peer.bits, number] for number in range(len(peer.settings))]
        points = [
            point(data, side.answer, side.median_s * 1e3, dict(setting))
            for side, setting in zip(sided, peer.settings, strict=True)
        ]
        memory = peer.memory_bytes + (kept.nbytes if peer.rescored else 0)
        slug = f"{peer.slug}.{peer.bits}" if peer.bits else peer.slug
        curves.append(Curve(peer.name, slug, peer.bits, memory, peer.build_s, tuple(points)))
    return curves


def build(data: Data, encoders: dict[int, Encoder], anchors: dict[int, Any]) -> list[Built]:
    """The peers."""
    peers = [candidates.rabitq(data.rows)]
    if data.graphs:
        peers.append(candidates.float_hnsw(data.rows))
    for bits, encoder in encoders.items():
        codes = encoder.encode(data.rows).words
        ivf = candidates.binary_ivf(codes)
        ivf.choose_modes(anchors[bits])
        peers += [ivf, candidates.binary_hash(codes)]
        if data.graphs:
            peers.append(candidates.binary_hnsw(codes))
    return peers


def ours(client: negmine.Client, data: Data, bits: int) -> Ours:
    """A filled collection. Where a low target scans every row all the same, only the exact scan is tried."""
    name = f"{data.label.replace('.', '-')}-{bits}"
    collection = client.create_collection(name, data.rows.shape[1], bits=bits, vectors="int8")
    seconds = fill(collection, data.blocks())
    assert collection.info().rows == len(data.rows), "rows are missing"
    probe = collection.mine(data.truth.queries[:1], K, scoring="symmetric", recall_target=TARGETS[0], timeout_s=CALL_S)
    probed = [{"recall_target": target} for target in TARGETS] if probe.rows_scanned < len(data.rows) else []
    settings = [
        {"scoring": scoring, "pool": pool} | accuracy
        for scoring in SCORINGS
        for pool in POOLS
        for accuracy in [*probed, {"exact": True}]
        if scoring == "symmetric" or "exact" not in accuracy or len(data.rows) <= EXACT_ASYMMETRIC_ROWS
    ]
    return Ours(collection, bits, seconds, memory_bytes(collection), settings)


def searching(peer: Built, setting: Setting, queries: F32, anchors: Any, kept: Stored) -> Callable[[], I64]:
    """A peer's search, with rescoring where it searches codes."""
    if not peer.rescored:
        return lambda: peer.search(anchors, setting)
    return lambda: kept.rescore(queries, peer.search(anchors, setting), K)


def mining(own: Ours, number: int, queries: F32) -> Callable[[], I64]:
    """Our call under a setting."""
    return lambda: own.mine(number, queries)


def point(data: Data, found: I64, ms: float, setting: dict[str, Any]) -> Point:
    """A point of a curve; ms are those of 1,024 queries."""
    return Point(data.truth.recall(found), ms * 1024 / len(found), setting)


# -- figures --


def figures(data: Data, curves: list[Curve]) -> list[Result]:
    """One a curve: its time at recall 0.95, ours against IndexBinaryIVF of the same width."""
    params: dict[str, Any] = {"data": data.name, "rows": len(data.rows), "queries": QUERIES, "k": K}
    params |= {"threads": threads(), "simd": simd()}
    by_slug = {curve.slug: curve for curve in curves}
    results = []
    for curve in curves:
        mine = curve.name == "negmine"
        peer = by_slug[f"faiss_binary_ivf.{curve.bits}"] if mine else None
        results.append(curve.result(data.label, WANTED, peer, params))
    return results


def headline(data: Data, curves: list[Curve]) -> Result:
    """`recall.probe.1e7`: our fastest at recall 0.95, whatever the width, against the fastest of IndexBinaryIVF."""
    sides: list[Curve] = []
    for slug in ("negmine.", "faiss_binary_ivf."):
        members = [curve for curve in curves if curve.slug.startswith(slug)]
        points = tuple(
            Point(at.recall, at.ms, at.setting | {"bits": curve.bits}) for curve in members for at in curve.points
        )
        memory = sum(curve.memory_bytes for curve in members)
        sides.append(Curve(members[0].name, slug, 0, memory, sum(curve.build_s for curve in members), points))
    made = sides[0].result(data.label, WANTED, sides[1], {"data": data.name, "rows": len(data.rows), "k": K})
    assert made.peer_value is not None
    reached = made.params["recall_wanted"] >= WANTED
    target = made.peer_value / RATIO if reached else 0.0  # a lower recall is no answer, however fast
    peer = f"{made.peer} and the same rescoring"
    return Result("recall.probe.1e7", made.value, "ms", "lower", target, peer, made.peer_value, made.params)
