"""The catalog's durable form: each state is an object `catalog/<number>`, and the highest number counts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from negmine_server.errors import DataLoss, Fenced, NotReady, StorageFailed
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import Exists, Missing, Objects

FORMAT = 1
_PREFIX = "catalog/"
_KEPT = 3  # states kept for a look back


@dataclass(frozen=True, slots=True)
class Record:
    """What the catalog keeps of a collection."""

    name: str
    incarnation: str
    spec: CollectionSpec
    generation: int
    created_ms: int

    @property
    def prefix(self) -> str:
        """Of its shards' objects: another one while the mean is estimated."""
        return f"{self.folder}{'estimating' if self.spec.estimating else 'shards'}/"

    @property
    def folder(self) -> str:
        """Of all its objects."""
        return f"collections/{self.incarnation}/"

    @property
    def partition_prefix(self) -> str:
        """Of the stored partition into buckets."""
        return f"{self.prefix}partition/"

    def shard_prefix(self, number: int) -> str:
        """Of one shard's objects."""
        return f"{self.prefix}{number:04d}"


class Ledger:
    """Reads the newest state and creates the next one. Not thread-safe."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._number = 0
        self._doubtful = b""  # a state whose create failed, and may be there all the same

    def load(self) -> tuple[dict[str, Record], dict[str, str]]:
        """Records and aliases by name.

        Raises:
            DataLoss: the newest state is corrupt.
            NotReady: it has a newer format.
        """
        keys = [item.key for item in self._objects.list(_PREFIX)]
        if not keys:
            return {}, {}
        try:
            self._number = int(keys[-1].removeprefix(_PREFIX))
            state: dict[str, Any] = json.loads(self._objects.get(keys[-1]))
            if state["format"] > FORMAT:
                raise NotReady(f"{keys[-1]} has format {state['format']}; this version reads up to {FORMAT}")
            records = [_record(item) for item in state["collections"]]
            return {record.name: record for record in records}, dict(state["aliases"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(f"{keys[-1]} is corrupt ({error!r}); remove it to go back to the state before it") from error

    def save(self, records: Iterable[Record], aliases: Mapping[str, str]) -> None:
        """Makes the next state durable.

        Raises:
            Fenced: another server writes this catalog.
            StorageFull: nothing has changed.
            StorageFailed: it may have become durable or not; the next save settles it.
        """
        collections = [
            {
                "name": record.name,
                "incarnation": record.incarnation,
                "spec": record.spec.to_json(),
                "generation": record.generation,
                "created_ms": record.created_ms,
            }
            for record in records
        ]
        state = {"format": FORMAT, "collections": collections, "aliases": dict(aliases)}
        data = json.dumps(state, indent=1).encode()
        if self._doubtful:
            self._settle()
        try:
            self._objects.create(_key(self._number + 1), data)
        except Exists:
            raise Fenced("another server writes this data folder's catalog") from None
        except StorageFailed:
            self._doubtful = data
            raise
        self._number += 1
        if self._number > _KEPT:
            self._objects.delete([_key(self._number - _KEPT)])

    def _settle(self) -> None:
        """Steps over a doubtful state that made it: what failed must not look like another server's work."""
        with suppress(Missing):
            if self._objects.get(_key(self._number + 1)) == self._doubtful:
                self._number += 1
        self._doubtful = b""


def _key(number: int) -> str:
    return f"{_PREFIX}{number:012d}"


def _record(item: dict[str, Any]) -> Record:
    spec = CollectionSpec.from_json(item["spec"])
    return Record(item["name"], item["incarnation"], spec, int(item["generation"]), int(item["created_ms"]))
