"""The approximate indexes of FAISS, each with the settings that trade recall for time."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # FAISS's threads do not spin through the calls of others

import faiss

from harness.ceiling import threads

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]
Setting = dict[str, int]

POOLS = (256, 1024, 4096)
PROBES = (4, 16, 64, 256)
FLIPS = (0, 1, 2, 3, 4)
HNSW_LINKS, HNSW_CONSTRUCTION = 16, 100
TRAINED_ITERATIONS = 6
TRAINED_ROWS = 40  # a list
HASHED_ROWS = 256  # a bucket, on average
ADDED_ROWS = 500_000
TRIAL_QUERIES = 128


@dataclass
class Built:
    """An index that is searched by codes (`bits` > 0) or by floats."""

    name: str
    slug: str
    bits: int
    index: Any
    settings: list[Setting]
    rescored: bool = True
    memory_bytes: int = 0
    build_s: float = 0.0
    modes: dict[int, tuple[bool, bool]] = field(default_factory=dict)  # of a binary IVF, for each pool

    def search(self, queries: Any, setting: Setting) -> I64:
        """Candidates [B, pool] of floats [B, d] or codes [B, W]; -1 = none."""
        faiss.omp_set_num_threads(threads())
        index = self.index
        if "probes" in setting:
            index.nprobe = setting["probes"]
        if "flips" in setting:
            index.nflip = setting["flips"]
        if "ef" in setting:
            index.hnsw.efSearch = setting["ef"]
        if self.modes:
            heap, by_list = index.use_heap, index.per_invlist_search = self.modes[setting["pool"]]
            # With counters 0 means no codes rather than no bound (FAISS #5555); by lists nothing but 0 is taken.
            index.max_codes = 0 if heap or by_list else index.ntotal
        given = queries.view(np.uint8) if self.bits else queries
        return np.asarray(index.search(given, setting["pool"])[1])

    def choose_modes(self, queries: U64) -> None:
        """A binary IVF has two ways to keep the best: takes the fastest for each pool.

        Its loop by lists is left out: in FAISS 1.15.1 it raises at 1e7 rows and corrupts the heap at 20,000.
        """
        for pool in sorted({setting["pool"] for setting in self.settings}):
            seconds: dict[tuple[bool, bool], float] = {}
            for heap in (True, False):
                self.modes[pool] = mode = (heap, False)
                begin = time.perf_counter()
                self.search(queries[:TRIAL_QUERIES], {"pool": pool, "probes": PROBES[1]})
                seconds[mode] = time.perf_counter() - begin
            self.modes[pool] = min(seconds, key=lambda mode: seconds[mode])


def lists_of(rows: int) -> int:
    """Inverted lists: the power of two from √rows up."""
    return 1 << math.ceil(math.log2(math.sqrt(rows)))


def binary_ivf(codes: U64) -> Built:
    """IndexBinaryIVF over codes [n, W]."""
    n, bits = len(codes), codes.shape[1] * 64
    lists = lists_of(n)
    index = faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(bits), bits, lists)
    index.cp.niter, index.cp.max_points_per_centroid = TRAINED_ITERATIONS, TRAINED_ROWS
    settings = [{"pool": pool, "probes": probes} for pool in POOLS for probes in PROBES if probes <= lists]
    peer = Built("FAISS IndexBinaryIVF", "faiss_binary_ivf", bits, index, settings)
    build(peer, codes.view(np.uint8), lists * TRAINED_ROWS)
    return peer


def binary_hash(codes: U64) -> Built:
    """IndexBinaryHash on the leading bits."""
    bits = codes.shape[1] * 64
    hashed = max(4, round(math.log2(len(codes) / HASHED_ROWS)))
    index = faiss.IndexBinaryHash(bits, hashed)
    settings = [{"pool": POOLS[-1], "flips": flips} for flips in FLIPS]
    peer = Built("FAISS IndexBinaryHash", "faiss_binary_hash", bits, index, settings)
    build(peer, codes.view(np.uint8))
    return peer


def binary_hnsw(codes: U64) -> Built:
    """IndexBinaryHNSW."""
    bits = codes.shape[1] * 64
    index = faiss.IndexBinaryHNSW(bits, HNSW_LINKS)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    settings = [{"pool": pool, "ef": pool} for pool in POOLS[:-1]]  # more takes it tens of seconds
    peer = Built("FAISS IndexBinaryHNSW", "faiss_binary_hnsw", bits, index, settings)
    build(peer, codes.view(np.uint8))
    return peer


def rabitq(rows: F32) -> Built:
    """IndexIVFRaBitQFastScan: 1 bit a dimension, relative to the list's centroid."""
    n, dimension = rows.shape
    lists = lists_of(n)
    quantiser = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFRaBitQFastScan(quantiser, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = TRAINED_ITERATIONS, TRAINED_ROWS
    settings = [{"pool": pool, "probes": probes} for pool in POOLS for probes in PROBES if probes <= lists]
    peer = Built("FAISS IndexIVFRaBitQFastScan", "faiss_ivf_rabitq", 0, index, settings)
    build(peer, rows, lists * TRAINED_ROWS)
    return peer


def float_hnsw(rows: F32) -> Built:
    """IndexHNSWFlat on the float rows themselves."""
    index = faiss.IndexHNSWFlat(rows.shape[1], HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_CONSTRUCTION
    settings = [{"pool": 64, "ef": ef} for ef in (64, 128, 256, 512, 1024)]
    peer = Built("FAISS IndexHNSWFlat", "faiss_hnsw_float", 0, index, settings, rescored=False)
    build(peer, rows)
    return peer


def build(peer: Built, rows: Any, trained: int = 0) -> None:
    """Trains on a sample and adds all; notes the time, and the size as FAISS writes it to a file."""
    faiss.omp_set_num_threads(threads())
    begin = time.perf_counter()
    if trained:
        sample = np.random.default_rng(0).choice(len(rows), min(trained, len(rows)), replace=False)
        peer.index.train(rows[np.sort(sample)])
    for start in range(0, len(rows), ADDED_ROWS):
        peer.index.add(rows[start : start + ADDED_ROWS])
    peer.build_s = time.perf_counter() - begin
    written = faiss.serialize_index_binary(peer.index) if peer.bits else faiss.serialize_index(peer.index)
    peer.memory_bytes = written.nbytes
