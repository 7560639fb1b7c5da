from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from negmine_server.errors import DataLoss, NotReady, StorageFull
from negmine_server.storage.objects import Data, LocalObjects
from negmine_server.storage.snapshots import latest_snapshot, prune, write_snapshot

Parts = list[dict[str, np.ndarray]]


def parts_of(count: int) -> Parts:
    return [{"ids": np.arange(index, index + 4), "codes": np.full((4, 2), index, np.uint64)} for index in range(count)]


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjects:
    return LocalObjects(tmp_path)


def test_round_trip(objects: LocalObjects) -> None:
    assert latest_snapshot(objects, "c/0") is None
    info = write_snapshot(objects, "c/0", 42, parts_of(3), {"writers": {"a": 1}, "mean": [0.5, None, True]})
    snapshot = latest_snapshot(objects, "c/0")
    assert snapshot is not None
    assert (snapshot.sequence, snapshot.size) == (42, info.size)
    assert snapshot.meta == {"writers": {"a": 1}, "mean": [0.5, None, True]}
    for got, expected in zip(snapshot.parts(), parts_of(3), strict=True):
        assert got.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(got[name], expected[name])


def test_an_empty_snapshot(objects: LocalObjects) -> None:
    write_snapshot(objects, "c", 0, [], {})
    snapshot = latest_snapshot(objects, "c")
    assert snapshot is not None
    assert list(snapshot.parts()) == []


def test_the_newest_complete_one_counts_and_prune_keeps_two(objects: LocalObjects) -> None:
    for sequence in (5, 30, 7):
        write_snapshot(objects, "c", sequence, parts_of(1), {})
    for sequence in (6, 99):
        info = write_snapshot(objects, "c", sequence, parts_of(1), {})
        objects.delete([f"{info.key}/manifest.json"])
    snapshot = latest_snapshot(objects, "c")
    assert snapshot is not None
    assert snapshot.sequence == 30
    assert prune(objects, "c", keep=2) == 3  # two objects of 5, one of 6
    left = {int(info.key.split("/")[2].split("-")[0]) for info in objects.list("c/")}
    assert left == {7, 30, 99}, "99 may be in the making"
    assert prune(objects, "c", keep=1) == 2
    assert prune(objects, "other") == 0


def test_corrupt_missing_and_short_parts_are_data_loss_and_named(objects: LocalObjects, tmp_path: Path) -> None:
    info = write_snapshot(objects, "c", 1, parts_of(3), {})
    part = tmp_path / info.key / "part-00001"
    good = part.read_bytes()
    snapshot = latest_snapshot(objects, "c")
    assert snapshot is not None
    for damage in (good[:-1] + b"\x77", good[:-1], good + b"x", None):
        part.unlink()
        if damage is not None:
            part.write_bytes(damage)
        parts = snapshot.parts()
        next(parts)
        with pytest.raises(DataLoss, match="part-00001"):
            next(parts)
        part.write_bytes(good)
    assert len(list(snapshot.parts())) == 3


def test_corrupt_and_newer_manifests_are_refused(objects: LocalObjects, tmp_path: Path) -> None:
    info = write_snapshot(objects, "c", 1, parts_of(1), {"rows": 4})
    manifest = tmp_path / info.key / "manifest.json"
    content = json.loads(manifest.read_bytes())
    for damage in (
        json.dumps({**content, "body": {**content["body"], "meta": {"rows": 5}}}),
        json.dumps({"format": 1}),
        "7",
        "{",
    ):
        manifest.write_text(damage)
        with pytest.raises(DataLoss, match=r"manifest\.json"):
            latest_snapshot(objects, "c")
    manifest.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(NotReady, match=r"manifest\.json: format version 2, this server reads up to 1"):
        latest_snapshot(objects, "c")


class FullAtManifest(LocalObjects):
    def create(self, key: str, data: Data) -> None:
        if key.endswith("manifest.json"):
            raise StorageFull(f"{key}: no room")
        super().create(key, data)


def test_a_snapshot_that_fails_removes_what_it_wrote(tmp_path: Path) -> None:
    objects = FullAtManifest(tmp_path)
    with pytest.raises(StorageFull):
        write_snapshot(objects, "c", 1, parts_of(3), {})
    assert objects.list("") == []

    def broken() -> Parts:
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError):
        write_snapshot(objects, "c", 1, (part for part in [*parts_of(1), *broken()]), {})
    assert objects.list("") == []
