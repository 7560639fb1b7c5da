"""The catalog: changes are durable before they show, corrupt bytes are refused by name, the rest goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import numpy as np
import pytest
from house import House, upsert
from live_server import LiveServer
from live_wire import TIMEOUT_S, array, batch, refusal, vectors
from negmine.v1 import collection_pb2 as pb
from negmine_server.catalog import State
from negmine_server.errors import AlreadyExists, DataLoss, Fenced, NotFound, StorageFull, TooLarge


def test_names_aliases_and_generations_survive_a_restart(house: House) -> None:
    first = house.create("first", seed=2**64 - 1, mean=np.float32([0.1] * 8), estimate_rows=0)
    house.create("second")
    house.catalog.set_alias("live", "second")
    house.catalog.start_generation("first", None)
    created = house.entry("first").record
    house.reopen()
    again = house.entry("first")
    assert again.collection is not None
    assert again.record.incarnation == first.incarnation
    assert again.record.created_ms == created.created_ms
    assert (again.collection.generation, again.collection.fingerprint) == (1, first.fingerprint)
    assert house.catalog.aliases() == {"live": "second"}
    assert house.catalog.serving("live") is house.entry("second").collection


def test_a_dropped_collection_leaves_nothing(house: House) -> None:
    made = house.create()
    upsert(made, [1], vectors(1, 8))
    made.engine.snapshot()
    house.catalog.drop("c")
    assert house.objects.list("collections/") == []
    house.reopen()
    with pytest.raises(NotFound):
        house.entry()
    house.create()
    assert house.entry().record.incarnation != made.incarnation


def test_a_change_that_is_not_durable_has_not_happened(house: House) -> None:
    made = house.create()
    house.catalog.set_alias("live", "c")
    threads, stored = threading.active_count(), house.objects.list("collections/")
    house.objects.only, house.objects.failure = "catalog/", StorageFull("no room")
    changes: list[Callable[[], object]] = [
        lambda: house.create("other"),
        lambda: house.catalog.set_alias("live", "c"),
        lambda: house.catalog.drop_alias("live"),
        lambda: house.catalog.start_generation("c", None),
    ]
    for change in changes:
        with pytest.raises(StorageFull):
            change()
    assert threading.active_count() == threads
    assert house.objects.list("collections/") == stored
    assert [entry.record.name for entry in house.catalog.entries()] == ["c"]
    assert (house.catalog.aliases(), made.generation) == ({"live": "c"}, 0)
    house.objects.failure = None
    house.create("other")
    house.reopen()
    assert [entry.record.name for entry in house.catalog.entries()] == ["c", "other"]


def test_only_so_many_collections(house: House) -> None:
    for number in range(8):
        house.create(f"c{number}", shards=1)
    with pytest.raises(TooLarge, match="8 collections"):
        house.create("more")
    with pytest.raises(AlreadyExists):
        house.create("c1")


def test_a_second_server_on_the_same_catalog_is_fenced(house: House) -> None:
    house.create()
    other = House(house.folder)
    other.catalog.set_alias("live", "c")
    with pytest.raises(Fenced):
        house.catalog.set_alias("mine", "c")
    other.close()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "collections": [{}], "aliases": {}}'])
def test_a_corrupt_catalog_is_refused_by_name(house: House, text: str) -> None:
    house.create()
    newest = max((house.folder / "catalog").iterdir())
    newest.write_text(text)
    with pytest.raises(DataLoss, match=newest.name):
        House(house.folder)


def corrupt(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)


def test_a_collection_with_a_corrupt_log_is_refused_and_the_others_serve(start: Callable[..., LiveServer]) -> None:
    server = start(default_shards=1)
    with server.wire() as wire:
        for name in ("good", "bad"):
            wire.create(name)
            wire.upsert(name, *(batch([n], vectors(1, 8)) for n in range(20)))
            wire.upsert(name, batch([50], vectors(1, 8)))
        incarnation = wire.get("bad").watermark.incarnation
    assert server.stop() == 0
    logs = sorted((server.data_dir / "collections" / incarnation / "shards" / "0000" / "log").iterdir())
    corrupt(logs[len(logs) // 2])
    server.start()
    with server.wire() as wire:
        info = wire.get("bad")
        assert info.state == pb.SERVING_STATE_DATA_LOSS
        assert logs[len(logs) // 2].name in info.problem
        calls: list[Callable[[], object]] = [
            lambda: wire.mine("bad", vectors(1, 8), 1),
            lambda: wire.upsert("bad", batch([1], vectors(1, 8))),
            lambda: wire.fetch("bad", [1]),
            lambda: wire.delete("bad", [1]),
            lambda: wire.collections.GetStats(pb.GetStatsRequest(collection="bad"), timeout=TIMEOUT_S),
        ]
        for call in calls:
            refused = refusal(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.DATA_LOSS, "DATA_LOSS")
            assert "'bad'" in refused.message
        assert wire.get("good").state == pb.SERVING_STATE_SERVING
        assert wire.get("good").rows == 21
        assert array(wire.mine("good", vectors(1, 8), 3).counts).tolist() == [3]
        assert 'negmine_collections{state="data_loss"} 1.0' in server.metrics()
        wire.check_serving()
        wire.collections.DropCollection(pb.DropCollectionRequest(collection="bad"), timeout=TIMEOUT_S)
        wire.create("bad")


def test_a_fenced_collection_says_so(house: House) -> None:
    made = house.create(shards=1)
    other = House(house.folder)
    other.catalog.open_all()
    with pytest.raises(Fenced):
        upsert(made, [1], vectors(1, 8))
    assert house.entry().state is State.FENCED
    assert "owner" in house.entry().reason
    assert other.entry().state is State.SERVING
    other.close()
