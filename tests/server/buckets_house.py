"""A collection with small buckets, and what it must hold and answer, whatever happens to the buckets."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from house import House, upsert
from negmine.encoder import Encoder
from negmine_server.collection import Collection
from negmine_server.domain import Batch, Metric, Query, Scoring
from negmine_server.encode import Anchors, encode
from negmine_server.index.partition import points_of
from negmine_server.index.rows import Rows
from negmine_server.rebalance import BucketOptions
from negmine_server.scan import reference

DIMENSION, BITS = 24, 128
SMALL = BucketOptions(from_rows=500, rows_min=64)


class Clusters:
    """Embeddings around random centres."""

    def __init__(self, clusters: int, seed: int = 0) -> None:
        self._centres = np.random.default_rng(seed).standard_normal((clusters, DIMENSION)).astype(np.float32)

    def draw(self, n: int, seed: int, clusters: slice = slice(None), noise: float = 0.5) -> Any:
        rng = np.random.default_rng(seed)
        centres = self._centres[clusters]
        spread = noise * rng.standard_normal((n, DIMENSION)).astype(np.float32)
        return centres[rng.integers(0, len(centres), n)] + spread


def bucketed(house: House, options: BucketOptions = SMALL, **changes: Any) -> Collection:
    """A collection of the house."""
    house.bucket_options = options
    return house.create(**({"dimension": DIMENSION, "bits": BITS, "shards": 2} | changes))


def settle(collection: Collection, steps_max: int = 3000) -> int:
    """Steps until there is nothing to do; how many were needed."""
    assert collection.rebalancer is not None
    for step in range(steps_max):
        if not collection.rebalancer.step():
            return step
    raise AssertionError(f"still busy after {steps_max} steps: {sizes(collection)}")


def sizes(collection: Collection) -> dict[int, int]:
    """Rows of the buckets that hold any."""
    return {number: rows for number, rows in collection.engine.bucket_rows().items() if rows}


def crashed(house: House, folder: Path) -> House:
    """What another server finds if this one is killed now."""
    shutil.copytree(house.folder, folder)
    made = House(folder, **house.options)
    made.bucket_options = house.bucket_options
    made.catalog.open_all()
    return made


class Truth:
    """What a collection must hold."""

    def __init__(self) -> None:
        self.embeddings: dict[int, Any] = {}

    def put(self, collection: Collection, ids: Any, embeddings: Any) -> None:
        upsert(collection, ids, embeddings)
        self.embeddings.update(zip(np.asarray(ids).tolist(), embeddings, strict=True))

    def delete(self, collection: Collection, ids: Any) -> None:
        for part in collection.delete(np.asarray(ids, np.int64), None, None):
            part.outcome.result(30)
        for item in np.asarray(ids).tolist():
            self.embeddings.pop(item, None)

    def check(self, collection: Collection, anchors: int = 8) -> None:
        """Every row is there once, and exact answers are the reference's."""
        engine, encoder = collection.engine, collection.encoder
        assert sum(engine.bucket_rows().values()) == len(self.embeddings)
        if not self.embeddings:
            return
        ids = np.array(sorted(self.embeddings), np.int64)
        codes = encoder.encode(np.stack([self.embeddings[item] for item in ids.tolist()]))
        found, columns = engine.fetch(ids)
        assert found.all()
        assert np.array_equal(columns["ids"], ids)
        assert np.array_equal(columns["codes"], codes.words)
        assert (engine.bucket_of(ids) >= 0).all()
        rows = Rows(encoder.words)
        assert np.allclose(columns["corrections"], codes.corrections, rtol=1e-5)
        rows.apply(Batch(ids, np.zeros(len(ids), np.int64), codes.words, columns["corrections"]))
        chosen = np.random.default_rng(len(ids)).choice(ids, anchors)
        query = query_of(encoder, np.stack([self.embeddings[item] for item in chosen.tolist()]))
        got = engine.search(query, 20, rescore=False)
        expected = reference.top_r(rows.view, query, 20, encoder.bits, Metric.COSINE)
        assert np.array_equal(got.ids, expected.ids)
        assert np.array_equal(got.scores, expected.scores)


def query_of(encoder: Encoder, embeddings: Any, scoring: Scoring = Scoring.ASYMMETRIC) -> Query:
    return encode(Anchors(embeddings, None, None), encoder, scoring, with_vectors=False).query


def probing_recall(collection: Collection, anchors: Any, probes: int, r: int = 20) -> float:
    """Share of the exact scan's best r rows that a scan of the nearest buckets finds."""
    engine = collection.engine
    assert engine.partition is not None
    query = query_of(collection.encoder, anchors)
    exact = engine.search(query, r, rescore=False)
    probed = engine.search(replace(query, probes=engine.partition.nearest(points_of(query), probes)), r, rescore=False)
    pairs = zip(exact.ids, probed.ids, strict=True)
    return float(np.mean([np.isin(some, others).mean() for some, others in pairs]))
