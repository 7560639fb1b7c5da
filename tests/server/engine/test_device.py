"""Shards on several devices answer as shards on the host do, whatever is probed, moved, full or lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("negmine", reason="the client cannot be imported here")

from buckets_house import BITS, Clusters, Truth, bucketed, query_of, settle
from cuda_emulator.emulated import without_compiler
from house import House, mine_options, upsert
from negmine_server.collection import Collection
from negmine_server.device.devices import Devices
from negmine_server.domain import Candidates, Fill, Query, Scoring, VectorsOn, VectorStore
from negmine_server.encode import Anchors
from negmine_server.engine.local import LocalEngine
from negmine_server.errors import DeviceLost
from negmine_server.explain import explain
from negmine_server.index.partition import points_of
from negmine_server.metrics import Stages
from negmine_server.placement import Placement
from negmine_server.scan.cuda import plans
from negmine_server.select.pickers.mixed import Mixed
from negmine_server.select.pickers.semi_hard import SemiHard
from negmine_server.select.pickers.softmax import Softmax
from negmine_server.select.pickers.unremix import Unremix
from negmine_server.select.protection import Protection
from simulated import SimulatedLauncher, simulated_gpu

pytestmark = without_compiler
SCANNED = [Scoring.SYMMETRIC, Scoring.ASYMMETRIC]


@pytest.fixture(params=[1, 3])
def on_devices(request: pytest.FixtureRequest, house: House) -> Iterator[House]:
    """A house whose collections are on so many devices."""
    devices = Devices([simulated_gpu(f"simulated:{number}") for number in range(request.param)])
    house.placement = Placement(devices, None, VectorsOn.DEVICE, house.scanners, 2)
    yield house
    devices.close()


def on_host(collection: Collection, house: House) -> LocalEngine:
    """The same shards without their devices."""
    engine: Any = collection.engine
    return LocalEngine(engine._shards, house.scanners, 2, engine.partition)


def same(got: Candidates, expected: Candidates) -> None:
    for name in ("ids", "scores", "versions", "counts", "above"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), name)
    assert got.scanned == expected.scanned


def test_buckets_move_and_nothing_else_changes(on_devices: House) -> None:
    clusters, truth = Clusters(12), Truth()
    collection = bucketed(on_devices, shards=4)
    truth.put(collection, np.arange(900), clusters.draw(900, 1))
    truth.check(collection)
    settle(collection)
    truth.put(collection, np.arange(600, 1500), clusters.draw(900, 2))
    truth.delete(collection, np.arange(0, 300, 2))
    truth.check(collection)
    settle(collection)
    truth.check(collection)
    on_devices.catalog.close()
    on_devices.catalog = on_devices._catalog()
    on_devices.catalog.open_all()
    reopened = on_devices.entry().collection
    assert reopened is not None
    truth.check(reopened)


@pytest.mark.parametrize("scoring", SCANNED)
@pytest.mark.parametrize("probes", [1, 4])
def test_probing_looks_at_the_rows_that_the_host_would(on_devices: House, scoring: Scoring, probes: int) -> None:
    clusters, truth = Clusters(12), Truth()
    collection = bucketed(on_devices, shards=2)
    truth.put(collection, np.arange(1200), clusters.draw(1200, 1))
    settle(collection)
    partition = collection.engine.partition
    assert partition is not None
    assert len(partition) > probes
    whole = query_of(collection.encoder, clusters.draw(21, 3), scoring)
    query = replace(whole, probes=partition.nearest(points_of(whole), probes), new_buckets=partition.next_number)
    same(collection.engine.search_here(query, 15), on_host(collection, on_devices).search_here(query, 15))


def probed_query(house: House) -> tuple[Collection, Query]:
    collection = bucketed(house, shards=1)
    clusters = Clusters(12)
    Truth().put(collection, np.arange(1200), clusters.draw(1200, 1))
    settle(collection)
    partition = collection.engine.partition
    assert partition is not None
    whole = query_of(collection.encoder, clusters.draw(5, 3))
    return collection, replace(whole, probes=partition.nearest(points_of(whole), 1))


def test_a_probed_scan_that_is_no_gain_looks_at_everything(on_devices: House, monkeypatch: pytest.MonkeyPatch) -> None:
    collection, query = probed_query(on_devices)
    monkeypatch.setattr(plans, "WORTH", 0.0)
    host = on_host(collection, on_devices)
    same(collection.engine.search(query, 15, rescore=False), host.search_here(replace(query, probes=None), 15))
    monkeypatch.setattr(plans, "WORTH", 1e9)
    same(collection.engine.search(query, 15, rescore=False), host.search_here(query, 15))


class Failing(SimulatedLauncher):
    """Fails on command as a device does that has fallen off."""

    failing = False

    def launch(self, kernel: Any, blocks: tuple[int, int], argument: int, number: int) -> None:
        if self.failing:
            raise RuntimeError("CUDA error: unspecified launch failure")
        super().launch(kernel, blocks, argument, number)


def test_a_lost_device_takes_its_collections_and_no_others(house: House) -> None:
    launcher = Failing()
    devices = Devices([simulated_gpu("a", launcher), simulated_gpu("b")])
    house.placement = Placement(devices, None, VectorsOn.DEVICE, house.scanners, 2)
    clusters, truth = Clusters(3), Truth()
    embeddings = clusters.draw(200, 1)
    lost, other = (
        house.create("lost", dimension=24, bits=BITS, shards=1),
        house.create("other", dimension=24, bits=BITS, shards=1),
    )
    truth.put(lost, np.arange(200), embeddings)
    truth.put(other, np.arange(200), embeddings)
    query = query_of(lost.encoder, clusters.draw(3, 2))
    launcher.failing = True
    with pytest.raises(DeviceLost):
        lost.engine.search(query, 5, rescore=False)
    assert isinstance(lost.engine.problem, DeviceLost)
    assert other.engine.problem is None
    truth.check(other)
    house.placement = None  # a restart, on another machine even
    house.reopen()
    for name in ("lost", "other"):
        reopened = house.entry(name).collection
        assert reopened is not None
        truth.check(reopened)
    devices.close()


def test_rows_without_room_on_the_device_are_searched_on_the_host(house: House) -> None:
    devices = Devices([simulated_gpu()])
    house.placement = Placement(devices, None, VectorsOn.DEVICE, house.scanners, 2)
    clusters, truth = Clusters(3), Truth()
    collection = house.create(dimension=24, bits=BITS, shards=2)
    truth.put(collection, np.arange(300), clusters.draw(300, 1))
    engine: Any = collection.engine
    shard = engine._shards[0]
    shard._rows._pages.view = replace(shard._rows._pages.view, mirrored=None)
    truth.check(collection)
    devices.close()


@pytest.mark.parametrize("store", [VectorStore.NONE, VectorStore.INT8])
@pytest.mark.parametrize("on_devices", [2], indirect=True)
def test_what_policies_pick_and_what_fills_is_the_same(on_devices: House, store: VectorStore) -> None:
    random, ids = np.random.default_rng(0), np.arange(500)
    collection = on_devices.create(dimension=16, store=store, shards=2)
    groups, tags = ids % 7, (ids % 5).astype(np.uint64)
    upsert(collection, ids, random.standard_normal((500, 16)), groups=groups, tags=tags)
    for sent in collection.delete(ids[:50], None, 0):
        sent.outcome.result(30)
    anchors = Anchors(random.standard_normal((3, 16)).astype(np.float32), None, None)
    scores = np.full(3, 0.4, np.float32)
    for policy, fill in (
        (Mixed(0.5, Softmax(3)), Fill.RANDOM),
        (Unremix(1, 1, 1, 0.1, 20, weights_only=True), Fill.NOTHING),
        (SemiHard(0.2), Fill.RELAXED),
    ):
        options = mine_options(
            3, policy=policy, fill=fill, rescore=store is not VectorStore.NONE, positive_scores=scores,
            groups=np.array([1, -1, 3]), require_tags=np.array([1, 0, 0], np.uint64),
            protection=Protection(max_score=0.3, min_score=0.1),
        )  # fmt: skip
        answers, engine = [], collection.engine
        for side in (engine, on_host(collection, on_devices)):
            collection.engine = side
            got = collection.mine(anchors, options, with_vectors=False, stages=Stages())
            seen = explain(anchors, options, collection.encoder, side, got.ids, got.positive_scores, 64)
            answers.append((got.ids, got.counts, got.fills, got.drops, seen.ids, seen.verdicts))
            assert got.counts.any()
        collection.engine = engine
        for mirrored, host in zip(*answers, strict=True):
            np.testing.assert_array_equal(mirrored, host)
