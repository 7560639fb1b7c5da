"""The catalog's durable form, on real files."""

from __future__ import annotations

from pathlib import Path

import pytest
from negmine_server.domain import Metric, VectorStore
from negmine_server.errors import DataLoss, Fenced, NotReady, StorageFailed
from negmine_server.ledger import Ledger, Record
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import LocalObjects

SPEC = CollectionSpec(8, 64, Metric.COSINE, VectorStore.NONE, 0, None, 0, 1, 0.95)
ONE, TWO = (Record(name, name * 32, SPEC, 0, 1) for name in "ab")


class Faulty(LocalObjects):
    """Real files whose next create ends in an error, before or after the file is there."""

    failure = ""

    def create(self, key, data) -> None:
        failure, self.failure = self.failure, ""
        if failure == "before":
            raise StorageFailed("the disk went away")
        super().create(key, data)
        if failure == "after":
            raise StorageFailed("the reply was lost")


def names(root: Path) -> tuple[set[str], dict[str, str]]:
    records, aliases = Ledger(LocalObjects(root)).load()
    return set(records), aliases


def test_the_newest_state_counts(tmp_path: Path) -> None:
    ledger = Ledger(LocalObjects(tmp_path))
    assert ledger.load() == ({}, {})
    for count in range(9):
        ledger.save([ONE, TWO][: count % 3], {"live": "a"} if count else {})
    assert names(tmp_path) == ({"a", "b"}, {"live": "a"})
    assert len(list((tmp_path / "catalog").iterdir())) == 3


@pytest.mark.parametrize("failure", ["before", "after"])
def test_a_save_in_doubt_is_settled_by_the_next(tmp_path: Path, failure: str) -> None:
    objects = Faulty(tmp_path)
    ledger = Ledger(objects)
    ledger.save([ONE], {})
    objects.failure = failure
    with pytest.raises(StorageFailed):
        ledger.save([ONE, TWO], {})
    ledger.save([ONE], {"live": "a"})
    assert names(tmp_path) == ({"a"}, {"live": "a"})


def test_another_writer_is_noticed(tmp_path: Path) -> None:
    mine, others = Ledger(LocalObjects(tmp_path)), Ledger(LocalObjects(tmp_path))
    others.save([TWO], {})
    with pytest.raises(Fenced, match="another server"):
        mine.save([ONE], {})


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"{", DataLoss), (b'{"format": 1}', DataLoss), (b'{"format": 99}', NotReady)],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes, error: type[Exception]) -> None:
    LocalObjects(tmp_path).create("catalog/000000000007", content)
    with pytest.raises(error, match="catalog/000000000007"):
        Ledger(LocalObjects(tmp_path)).load()
