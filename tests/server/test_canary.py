"""The canary measures what is served, and what is served keeps the recall target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from buckets_house import Clusters, bucketed, settle
from house import House, mine_options, upsert
from negmine_server import canary
from negmine_server.collection import Collection
from negmine_server.domain import Filled, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages

ROWS = 8000
CLUSTERS = Clusters(40)


def mine(collection: Collection, embeddings: Any, k: int = 8, **changes: Any) -> Negatives:
    values = {"scoring": Scoring.SYMMETRIC, "recall_target": 0.9, "pool_max": 4096} | changes
    options = mine_options(len(embeddings), k, **values)
    return collection.mine(Anchors(embeddings, None, None), options, with_vectors=False, stages=Stages())


def recall(found: Negatives, truth: Negatives) -> float:
    return float(np.mean([np.isin(some, others).mean() for some, others in zip(truth.ids, found.ids, strict=True)]))


@pytest.fixture
def collection(house: House, monkeypatch: pytest.MonkeyPatch) -> Collection:
    monkeypatch.setattr(canary, "PAUSE_MAX_S", 0.0)
    made = bucketed(house, store=VectorStore.INT8)
    upsert(made, np.arange(ROWS), CLUSTERS.draw(ROWS, 1), tags=(np.arange(ROWS) % 500 == 0).astype(np.uint64))
    settle(made)
    return made


def test_scans_are_exact_before_anything_is_known(collection: Collection) -> None:
    anchors = CLUSTERS.draw(16, 2)
    found = mine(collection, anchors)
    assert (found.scanned == ROWS).all()
    assert collection.canary.calibration.measured is None


@pytest.mark.parametrize("target", [0.7, 0.9, 0.98])
def test_stand_ins_then_live_queries_keep_the_target(collection: Collection, target: float) -> None:
    assert collection.canary.step(), "stored rows stand in for queries"
    for seed in range(30):
        mine(collection, CLUSTERS.draw(32, 100 + seed), recall_target=target)
        collection.canary.step()
    anchors = CLUSTERS.draw(400, 3)
    found, truth = mine(collection, anchors, recall_target=target), mine(collection, anchors, recall_target=1.0)
    assert found.scanned.max() < 0.7 * ROWS
    assert recall(found, truth) >= target - 0.03
    measured = collection.canary.calibration.measured
    if target < collection.spec.recall_target:
        assert measured is None, "these asked for less than the collection promises"
    else:
        assert measured is not None
        assert measured >= target - 0.03


def test_probes_go_up_by_themselves_when_queries_become_harder(collection: Collection) -> None:
    collection.canary.step()
    easy = mine(collection, CLUSTERS.draw(32, 4)).scanned.max()
    far = np.random.default_rng(5)
    for _ in range(40):
        mine(collection, far.standard_normal((32, 24)).astype(np.float32))
        collection.canary.step()
    anchors = far.standard_normal((300, 24)).astype(np.float32)
    found, truth = mine(collection, anchors), mine(collection, anchors, recall_target=1.0)
    assert found.scanned.max() > easy
    assert recall(found, truth) >= 0.85


def test_a_rescored_answer_is_measured_against_the_vectors(collection: Collection) -> None:
    for seed in range(30):
        mine(collection, CLUSTERS.draw(32, 200 + seed), rescore=True, scoring=Scoring.ASYMMETRIC, recall_target=0.95)
        collection.canary.step()
    anchors = CLUSTERS.draw(200, 6)
    found = mine(collection, anchors, rescore=True, scoring=Scoring.ASYMMETRIC, recall_target=0.95)
    truth = mine(collection, anchors, scoring=Scoring.FLOAT, recall_target=1.0)
    assert recall(found, truth) >= 0.92


def test_an_anchor_that_the_probed_buckets_leave_short_looks_at_all_of_them(collection: Collection) -> None:
    collection.canary.step()
    anchors = CLUSTERS.draw(8, 7)
    tags = np.ones(8, np.uint64)
    found = mine(collection, anchors, k=16, require_tags=tags, recall_target=0.5)
    truth = mine(collection, anchors, k=16, require_tags=tags, recall_target=1.0)
    assert np.array_equal(found.ids, truth.ids), "16 rows carry the tag"
    assert np.array_equal(found.drops, truth.drops)
    more = mine(collection, anchors, k=17, require_tags=tags, recall_target=0.5)
    assert set(more.filled) == {Filled.EXHAUSTED}
    assert np.array_equal(more.counts, np.full(8, 16))


def test_an_answer_does_not_depend_on_the_batch(collection: Collection) -> None:
    collection.canary.step()
    anchors = CLUSTERS.draw(70, 8)
    whole = mine(collection, anchors, recall_target=0.8)
    for row in (0, 13, 69):
        alone = mine(collection, anchors[row : row + 1], recall_target=0.8)
        assert np.array_equal(alone.ids[0], whole.ids[row])
        assert alone.scanned[0] < ROWS


def test_a_full_house_of_samples_stays_bounded(collection: Collection) -> None:
    for seed in range(200):
        mine(collection, CLUSTERS.draw(4, seed))
    assert len(collection.canary._pending) <= canary._PENDING_MAX
    while collection.canary.step():
        pass
