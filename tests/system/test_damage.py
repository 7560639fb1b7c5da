"""Damaged files: a torn tail is dropped and reported, a corrupt middle ends its collection and no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import negmine
import numpy as np
import pytest
from promises import BITS, DIMENSION, embeddings, groups
from server_process import ServerProcess

BATCH_ROWS = 100
BATCHES = 12  # more than a window of log objects behind the damaged one


def put(client: negmine.Client, name: str) -> negmine.Collection:
    """A collection of one shard with each batch in a log object of its own."""
    collection = client.create_collection(name, DIMENSION, bits=BITS, shards=1)
    for step in range(1, BATCHES + 1):
        ids = ids_of(step)
        collection.upsert(ids, embeddings(ids, step), step=step, groups=groups(ids, step))
    return collection


def ids_of(step: int) -> np.ndarray:
    return np.arange(BATCH_ROWS) + step * BATCH_ROWS


def log_objects(server: ServerProcess, incarnation: str) -> list[Path]:
    """Of the shard, oldest first; those with rows, not the fences."""
    objects = sorted((server.data / "collections" / incarnation).glob("**/log/*"))
    return [path for path in objects if path.stat().st_size > BATCH_ROWS * (BITS // 8)]


def assert_whole(collection: negmine.Collection, steps: range) -> None:
    for step in steps:
        found = collection.fetch(ids_of(step))
        assert found.found.all()
        assert (found.steps == step).all()
        np.testing.assert_array_equal(found.groups, groups(ids_of(step), step))


@pytest.mark.parametrize("left", [0, 20, 1000], ids=["empty", "half a header", "half a record"])
def test_a_torn_tail_is_dropped_and_reported(tmp_path: Path, left: int) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        with negmine.Client(server.target) as client:
            incarnation = put(client, "torn").info().watermark.incarnation
        server.kill()
        newest = log_objects(server, incarnation)[-1]
        with newest.open("r+b") as file:
            file.truncate(left)
        for _ in range(2):  # the second start forgives what the first one dropped
            server.start()
            with negmine.Client(server.target) as client:
                collection = client.collection("torn")
                assert collection.info().rows == (BATCHES - 1) * BATCH_ROWS
                assert_whole(collection, range(1, BATCHES))
                ids = ids_of(99)
                collection.upsert(ids, embeddings(ids, 99), step=99)
                collection.delete(ids)
            server.kill()
        assert f"dropped the torn tail of the log: records [{int(newest.name)}]" in server.output
        assert incarnation in server.output


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_corrupt_middle_ends_its_collection_and_no_other(tmp_path: Path, damage: str) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        with negmine.Client(server.target) as client:
            incarnation = put(client, "broken").info().watermark.incarnation
            put(client, "whole")
        server.kill()
        older = log_objects(server, incarnation)[1]
        bytes_before = older.read_bytes()
        if damage == "flipped":
            middle = len(bytes_before) // 2
            older.write_bytes(bytes_before[:middle] + bytes([bytes_before[middle] ^ 0x40]) + bytes_before[middle + 1 :])
        else:
            older.unlink()
        server.start()
        with negmine.Client(server.target) as client:
            assert_refused(client, older.name)
            whole = client.collection("whole")
            assert whole.info().rows == BATCHES * BATCH_ROWS
            assert_whole(whole, range(1, BATCHES + 1))
            assert len(whole.mine(embeddings(ids_of(1), 1), 5)) == BATCH_ROWS
        assert "collection broken is not served" in server.output
        server.kill()
        older.write_bytes(bytes_before)  # restored from a backup: nothing was made worse meanwhile
        server.start()
        with negmine.Client(server.target) as client:
            assert_whole(client.collection("broken"), range(1, BATCHES + 1))


def assert_refused(client: negmine.Client, record: str) -> None:
    """Every use says which collection and which object."""
    broken = client.collection("broken")
    ids = ids_of(1)
    uses = [
        lambda: broken.mine(embeddings(ids, 1), 5),
        lambda: broken.upsert(ids, embeddings(ids, 1)),
        lambda: broken.delete(ids),
        lambda: broken.fetch(ids),
        broken.snapshot,
    ]
    for use in uses:
        with pytest.raises(negmine.DataLoss, match=rf"'broken' is not served.*{record}"):
            use()
    info = broken.info()
    assert info.state == "data_loss"
    assert record in info.problem
    assert {each.name: each.state for each in client.list_collections()} == {"broken": "data_loss", "whole": "serving"}


def test_a_corrupt_snapshot_ends_its_collection(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.start()
        with negmine.Client(server.target) as client:
            collection = put(client, "broken")
            incarnation = collection.info().watermark.incarnation
            assert collection.snapshot().rows == BATCHES * BATCH_ROWS
        server.kill()
        parts = sorted((server.data / "collections" / incarnation).glob("**/snapshot/*/part-*"))
        shutil.copy(part := parts[-1], tmp_path / "part")
        content = bytearray(part.read_bytes())
        content[-5] ^= 1
        part.write_bytes(content)
        server.start()
        with negmine.Client(server.target) as client, pytest.raises(negmine.DataLoss, match=r"'broken'.*checksum"):
            client.collection("broken").fetch(ids_of(1))
        server.kill()
        shutil.copy(tmp_path / "part", part)
        server.start()
        with negmine.Client(server.target) as client:
            assert_whole(client.collection("broken"), range(1, BATCHES + 1))
