"""Any interleaving of upserts, deletes, retries, snapshots and restarts leaves what a dictionary would hold."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from house import House, items, upsert
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from negmine.encoder import Encoder
from negmine_server.collection import Collection
from negmine_server.domain import VectorStore, Version

POOL = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
CODES = Encoder(8, 64).encode(POOL).words[:, 0]
IDS = st.lists(st.integers(0, 12), min_size=1, max_size=8, unique=True)


@dataclass
class Row:
    version: Version
    vector: int
    group: int
    tags: int


class Machine(RuleBasedStateMachine):
    """A collection on real files beside a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.house = House(Path(self.folder.name), snapshot_log_bytes=4096)
        self.rows: dict[int, Row] = {}
        self.buried: dict[int, Version] = {}
        self.numbers: dict[str, int] = {"a": 0, "b": 0}
        self.sent: dict[tuple[str, int], dict[str, Any]] = {}
        self.generation = 0

    @initialize(shards=st.sampled_from([1, 4]), store=st.sampled_from([VectorStore.NONE, VectorStore.INT8]))
    def create(self, shards: int, store: VectorStore) -> None:
        self.house.create(shards=shards, store=store)

    @property
    def collection(self) -> Collection:
        served = self.house.entry().collection
        assert served is not None
        return served

    @rule(
        ids=IDS,
        vector=st.integers(0, 50),
        step=st.integers(0, 6),
        group=st.sampled_from([None, -1, 3]),
        tags=st.sampled_from([None, 5]),
        writer=st.sampled_from(["", "a", "b"]),
    )
    def upsert(self, ids: list[int], vector: int, step: int, group: int | None, tags: int | None, writer: str) -> None:
        number = self.numbers[writer] + 1 if writer else 0
        fields: dict[str, Any] = {"step": step, "writer": writer, "number": number}
        fields["groups"] = None if group is None else np.full(len(ids), group)
        fields["tags"] = None if tags is None else np.full(len(ids), tags, np.uint64)
        done = upsert(self.collection, ids, POOL[vector : vector + len(ids)], **fields)
        if writer:
            self.numbers[writer] = number
            self.sent[writer, number] = {"ids": ids, "embeddings": POOL[vector : vector + len(ids)], **fields}
        version = Version(self.generation, step)
        counts = [0, 0, 0]
        for place, item in enumerate(ids):
            held = self.rows.get(item)
            newest = held.version if held else self.buried.get(item, Version(0, 0))
            if version < newest:
                counts[2] += 1
                continue
            counts[1 if held else 0] += 1
            self.buried.pop(item, None)
            self.rows[item] = Row(version, vector + place, -1 if group is None else group, tags or 0)
        totals = [sum(getattr(part, name) for part in done) for name in ("inserted", "overwritten", "stale")]
        assert totals == counts

    @rule(ids=IDS, step=st.integers(0, 6))
    def delete(self, ids: list[int], step: int) -> None:
        done = [part.outcome.result(30) for part in self.collection.delete(np.array(ids), self.generation, step)]
        version, deleted, stale = Version(self.generation, step), 0, 0
        for item in ids:
            held = self.rows.get(item)
            newest = held.version if held else self.buried.get(item, Version(0, 0))
            if version < newest:
                stale += 1
                continue
            deleted += held is not None
            self.rows.pop(item, None)
            self.buried[item] = version
        assert (sum(part.deleted for part in done), sum(part.stale for part in done)) == (deleted, stale)

    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        if self.sent:
            again = self.sent[data.draw(st.sampled_from(sorted(self.sent)))]
            assert all(part.outcome.result(30).duplicate for part in self.collection.upsert(items(**again)))

    @rule()
    def snapshot(self) -> None:
        self.collection.engine.snapshot()

    @rule()
    def begin_generation(self) -> None:
        self.generation = self.house.catalog.start_generation("c", None)

    @rule()
    def restart(self) -> None:
        before = self.collection.watermark
        self.house.reopen()
        assert self.collection.watermark.reached(before)

    @invariant()
    def holds_what_the_dictionary_holds(self) -> None:
        if not self.house.catalog.entries():
            return
        fetched = self.collection.fetch(np.arange(13))
        assert np.flatnonzero(fetched.found).tolist() == sorted(self.rows)
        assert self.collection.rows == len(self.rows)
        want = [self.rows[item] for item in sorted(self.rows)]
        columns = fetched.columns
        if not want:
            return
        assert columns["versions"].tolist() == [row.version.pack() for row in want]
        assert columns["codes"][:, 0].tolist() == [CODES[row.vector] for row in want]
        assert columns.get("groups", np.full(len(want), -1)).tolist() == [row.group for row in want]
        assert columns.get("tags", np.zeros(len(want))).tolist() == [row.tags for row in want]

    def teardown(self) -> None:
        self.house.close()
        self.folder.cleanup()


TestCollectionModel = Machine.TestCase
TestCollectionModel.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
