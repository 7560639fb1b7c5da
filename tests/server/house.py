"""The rooms below rpc, wired in this process as the app wires them: a catalog of collections on real files."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from negmine.encoder import lengths_of
from negmine_server.catalog import Catalog, Entry, Record
from negmine_server.collection import Collection
from negmine_server.committer import CommitOptions
from negmine_server.domain import Applied, Metric, Scoring, VectorStore
from negmine_server.errors import NegmineError
from negmine_server.items import Items
from negmine_server.opening import Opener
from negmine_server.options import MineOptions
from negmine_server.rebalance import BucketOptions
from negmine_server.select.pickers.top import Top
from negmine_server.select.protection import Protection
from negmine_server.shard import ShardOptions
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import Data, LocalObjects
from numpy.typing import ArrayLike


def spec_of(**changes: Any) -> CollectionSpec:
    """A spec of 8 dimensions, 64 bits and two shards, but for the changes."""
    values: dict[str, Any] = {
        "dimension": 8,
        "bits": 64,
        "metric": Metric.COSINE,
        "store": VectorStore.NONE,
        "seed": 0,
        "mean": None,
        "estimate_rows": 0,
        "shards": 2,
        "recall_target": 0.95,
    }
    return CollectionSpec(**(values | changes))


class FaultyObjects(LocalObjects):
    """Real files whose creates fail on command, or wait to be let through."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.failure: NegmineError | None = None
        self.only = ""  # creates whose key holds this
        self.held: threading.Event | None = None  # creates wait for it
        self.arrived = threading.Semaphore(0)  # released by each create that waits
        self.created: list[str] = []

    def create(self, key: str, data: Data) -> None:
        """As LocalObjects, but for the fault."""
        if self.only in key:
            if self.held is not None:
                self.arrived.release()
                assert self.held.wait(30)
            if self.failure is not None:
                raise type(self.failure)(self.failure.message)
        super().create(key, data)
        self.created.append(key)


class House:
    """A catalog and its collections; `reopen` is a restart without the process."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.options = options  # of ShardOptions
        self.bucket_options = BucketOptions()
        self.placement: Any = None  # on devices
        self.scanners = ThreadPoolExecutor(2)
        self.background = ThreadPoolExecutor(2)
        self.objects = FaultyObjects(folder)
        self.catalog = self._catalog()

    def create(self, name: str = "c", **changes: Any) -> Collection:
        entry, _ = self.catalog.create(name, spec_of(**changes), exist_ok=False)
        assert entry.collection is not None
        return entry.collection

    def entry(self, name: str = "c") -> Entry:
        return self.catalog.entry(name)

    def reopen(self) -> None:
        self.catalog.close()
        self.objects = FaultyObjects(self.folder)
        self.catalog = self._catalog()
        self.catalog.open_all()

    def close(self) -> None:
        self.objects.failure = None
        if self.objects.held is not None:
            self.objects.held.set()
        self.catalog.close()
        self.scanners.shutdown()
        self.background.shutdown()

    def open(self, record: Record) -> Collection:
        opener = Opener(
            objects=self.objects,
            shard_options=self._shard_options,
            bucket_options=self.bucket_options,
            scanners=self.scanners,
            workers=2,
            background=self.background,
            on_applied=lambda: None,
            step_ahead_max=1000,
            placement=self.placement,
        )
        return opener(record)

    def _shard_options(self, spec: CollectionSpec) -> ShardOptions:
        return ShardOptions(
            bits=spec.bits,
            dimension=spec.dimension,
            metric=spec.metric,
            store=spec.kept_store,
            **self.options,
        )

    def _catalog(self) -> Catalog:
        return Catalog(self.objects, self.open, collections_max=8)


def small_commits(queue_batches_max: int = 256, window: int = 2) -> CommitOptions:
    """One batch an object, few in flight."""
    return CommitOptions(window, 1, queue_batches_max)


def items(ids: ArrayLike, embeddings: Any, **changes: Any) -> Items:
    rows = None if embeddings is None else np.asarray(embeddings, np.float32)
    values: dict[str, Any] = {
        "ids": np.asarray(ids, np.int64),
        "embeddings": rows,
        "lengths": None if rows is None else lengths_of(rows),
        "codes": None,
        "fingerprint": "",
        "groups": None,
        "tags": None,
        "uncertainties": None,
        "generation": None,
        "step": 0,
        "writer": "",
        "number": 0,
    }
    return Items(**(values | changes))


def upsert(collection: Collection, ids: ArrayLike, embeddings: Any, **changes: Any) -> list[Applied]:
    """Upserts and waits; what became of it in each shard."""
    sent = collection.upsert(items(ids, embeddings, **changes))
    return [part.outcome.result(30) for part in sent]


def mine_options(rows: int, k: int = 8, seed: int = 0, **changes: Any) -> MineOptions:
    """Options for some anchors, everything else at its "none"."""
    values: dict[str, Any] = {
        "k": k,
        "own_ids": np.full(rows, -1, np.int64),
        "positive_offsets": np.zeros(rows + 1, np.int64),
        "positive_ids": np.empty(0, np.int64),
        "groups": np.full(rows, -1, np.int64),
        "positive_scores": np.full(rows, np.nan, np.float32),
        "require_tags": np.zeros(rows, np.uint64),
        "forbid_tags": np.zeros(rows, np.uint64),
        "min_steps": np.zeros(rows, np.int64),
        "seeds": np.full(rows, seed, np.uint64),
        "protection": Protection(),
        "policy": Top(),
        "scoring": Scoring.ASYMMETRIC,
        "rescore": False,
        "recall_target": 1.0,
        "pool": 0,
        "pool_max": 16_384,
        "max_scanned": 65_536,
    }
    return MineOptions(**(values | changes))
