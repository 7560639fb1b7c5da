"""Named collections and aliases, persisted: the catalog's states are objects `catalog/<number>`, the highest counts.

A change is durable before it takes effect. A collection whose stored bytes are corrupt is listed with its problem and
not served; the others are.
"""

from __future__ import annotations

import json
import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from threading import RLock
from typing import Any

from negmine_server.collection import Collection
from negmine_server.errors import (
    AlreadyExists,
    DataLoss,
    Fenced,
    InvalidInput,
    NegmineError,
    NotFound,
    NotReady,
    TooLarge,
)
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import Exists, Objects

LOG = logging.getLogger(__name__)
FORMAT = 1
_PREFIX = "catalog/"
_KEPT = 3  # states kept for a look back
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class State(Enum):
    """Whether a collection serves."""

    SERVING = "serving"
    DATA_LOSS = "data_loss"
    FENCED = "fenced"
    LOADING = "loading"


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
        return f"collections/{self.incarnation}/{'estimating' if self.spec.estimating else 'shards'}"


@dataclass(slots=True)
class Entry:
    """A collection with what serves it."""

    record: Record
    collection: Collection | None = None
    problem: NegmineError | None = None  # why it is not served

    @property
    def state(self) -> State:
        """Whether it serves."""
        problem = self.problem or (self.collection.engine.problem if self.collection else None)
        if problem is None:
            return State.LOADING if self.collection is None else State.SERVING
        return State.DATA_LOSS if isinstance(problem, DataLoss) else State.FENCED

    @property
    def reason(self) -> str:
        """Why it does not serve; empty where it does."""
        problem = self.problem or (self.collection.engine.problem if self.collection else None)
        return "" if problem is None else problem.message


@dataclass(slots=True)
class _Names:
    entries: dict[str, Entry] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


class Catalog:
    """Thread-safe; calls block on storage.

    Args:
        open_collection: makes a record's collection, loading what is stored of it.
    """

    def __init__(
        self, objects: Objects, open_collection: Callable[[Record], Collection], *, collections_max: int
    ) -> None:
        self._objects = objects
        self._open = open_collection
        self._collections_max = collections_max
        self._lock = RLock()
        self._number = 0
        self._names = _Names()
        self._load()

    def open_all(self) -> None:
        """Opens every collection; one that is corrupt keeps its problem."""
        for entry in list(self._names.entries.values()):
            begin = time.perf_counter()
            try:
                entry.collection = self._open(entry.record)
            except (DataLoss, NotReady) as error:
                entry.problem = error
                LOG.error("collection %s is not served: %s", entry.record.name, error)  # noqa: TRY400 (the message says it)
                continue
            LOG.info(
                "collection %s: %d rows in %.2f s",
                entry.record.name,
                entry.collection.rows,
                time.perf_counter() - begin,
            )

    def serving(self, name: str) -> Collection:
        """The collection behind a name or alias.

        Raises:
            NotFound: no such name.
            DataLoss, NotReady: it is not served; says why.
        """
        entry = self.entry(name)
        if entry.problem is not None:
            raise type(entry.problem)(f"collection {entry.record.name!r} is not served: {entry.problem.message}")
        if entry.collection is None:
            raise NotReady(f"collection {entry.record.name!r} is loading", reason="LOADING")
        return entry.collection

    def entry(self, name: str) -> Entry:
        """The entry behind a name or alias."""
        with self._lock:
            entry = self._names.entries.get(self._names.aliases.get(name, name))
        if entry is None:
            raise NotFound(f"no collection or alias {name!r}", field="collection")
        return entry

    def entries(self) -> list[Entry]:
        """All collections by name."""
        with self._lock:
            return [self._names.entries[name] for name in sorted(self._names.entries)]

    def aliases(self) -> dict[str, str]:
        """All aliases."""
        with self._lock:
            return dict(sorted(self._names.aliases.items()))

    def create(self, name: str, spec: CollectionSpec, *, exist_ok: bool) -> tuple[Entry, bool]:
        """A new collection, or with `exist_ok` the one of the same spec; and whether it is new."""
        _check_name(name, "name")
        spec.check()
        with self._lock:
            there = self._names.entries.get(name)
            if there is not None and exist_ok and there.record.spec.same_as(spec):
                return there, False
            if there is not None or name in self._names.aliases:
                what = "a collection" if there is not None else "an alias"
                raise AlreadyExists(f"{name!r} is {what} already", field="name")
            if len(self._names.entries) >= self._collections_max:
                raise TooLarge(f"there are {self._collections_max} collections, the most this server keeps")
            record = Record(name, uuid.uuid4().hex, spec, 0, int(time.time() * 1e3))
            collection = self._open(record)  # its logs are durable before the catalog names it
            self._save({**self._records(), name: record}, self._names.aliases)
            entry = self._names.entries[name] = Entry(record, collection)
            return entry, True

    def drop(self, name: str) -> None:
        """Forgets a collection, then deletes what is stored of it."""
        with self._lock:
            if name in self._names.aliases:
                raise InvalidInput(f"{name!r} is an alias; expected a collection's name", field="collection")
            entry = self.entry(name)
            pointing = [alias for alias, target in self._names.aliases.items() if target == name]
            if pointing:
                raise NotReady(f"alias {pointing[0]!r} points at {name!r}; drop or move it first", reason="ALIASED")
            records = self._records()
            del records[name]
            self._save(records, self._names.aliases)
            del self._names.entries[name]
        if entry.collection is not None:
            entry.collection.engine.close()
        self._delete(f"collections/{entry.record.incarnation}/")

    def set_alias(self, alias: str, name: str) -> str:
        """Points an alias at a collection; returns what it pointed at before."""
        _check_name(alias, "alias")
        with self._lock:
            if alias in self._names.entries:
                raise AlreadyExists(f"{alias!r} is a collection", field="alias")
            if name not in self._names.entries:
                raise NotFound(f"no collection {name!r}", field="collection")
            previous = self._names.aliases.get(alias, "")
            aliases = {**self._names.aliases, alias: name}
            self._save(self._records(), aliases)
            self._names.aliases = aliases
            return previous

    def drop_alias(self, alias: str) -> None:
        """Removes an alias."""
        with self._lock:
            if alias not in self._names.aliases:
                raise NotFound(f"no alias {alias!r}", field="alias")
            aliases = {key: value for key, value in self._names.aliases.items() if key != alias}
            self._save(self._records(), aliases)
            self._names.aliases = aliases

    def start_generation(self, name: str, wanted: int | None) -> int:
        """Raises the generation by one; with `wanted`, does nothing where that is the current one."""
        with self._lock:
            collection, entry = self.serving(name), self.entry(name)
            current = entry.record.generation
            if wanted is not None and wanted == current:
                return current
            if wanted is not None and wanted != current + 1:
                raise InvalidInput(
                    f"generation is {wanted}; expected {current} (the current one) or {current + 1}", field="generation"
                )
            self._replace(entry, replace(entry.record, generation=current + 1))
            collection.generation = current + 1
            return current + 1

    def swap(self, entry: Entry, spec: CollectionSpec) -> None:
        """Gives a collection the spec with its mean estimated: opens what was written for it, lets go of the old."""
        with self._lock:
            old = entry.record
            record = replace(old, spec=spec)
            collection = self._open(record)
            collection.generation = record.generation
            self._replace(entry, record)
            entry.collection = collection
        self._delete(old.prefix + "/")

    def close(self) -> None:
        """Finishes what is queued in every collection."""
        for entry in self.entries():
            if entry.collection is not None:
                entry.collection.engine.close()

    def _records(self) -> dict[str, Record]:
        return {name: entry.record for name, entry in self._names.entries.items()}

    def _replace(self, entry: Entry, record: Record) -> None:
        self._save({**self._records(), record.name: record}, self._names.aliases)
        entry.record = record

    def _delete(self, prefix: str) -> None:
        self._objects.delete([item.key for item in self._objects.list(prefix)])

    def _save(self, records: dict[str, Record], aliases: dict[str, str]) -> None:
        collections = [
            {
                "name": record.name,
                "incarnation": record.incarnation,
                "spec": record.spec.to_json(),
                "generation": record.generation,
                "created_ms": record.created_ms,
            }
            for record in records.values()
        ]
        state = {"format": FORMAT, "collections": collections, "aliases": aliases}
        try:
            self._objects.create(f"{_PREFIX}{self._number + 1:012d}", json.dumps(state, indent=1).encode())
        except Exists:
            raise Fenced("another server writes this data folder's catalog") from None
        self._number += 1
        self._objects.delete([f"{_PREFIX}{self._number - _KEPT:012d}"] if self._number > _KEPT else [])

    def _load(self) -> None:
        keys = [item.key for item in self._objects.list(_PREFIX)]
        if not keys:
            return
        self._number = int(keys[-1].removeprefix(_PREFIX))
        try:
            state: dict[str, Any] = json.loads(self._objects.get(keys[-1]))
            if state["format"] > FORMAT:
                raise NotReady(f"{keys[-1]} has format {state['format']}; this version reads up to {FORMAT}")
            for item in state["collections"]:
                spec = CollectionSpec.from_json(item["spec"])
                record = Record(
                    item["name"], item["incarnation"], spec, int(item["generation"]), int(item["created_ms"])
                )
                self._names.entries[record.name] = Entry(record)
            self._names.aliases = dict(state["aliases"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataLoss(
                f"{keys[-1]} is corrupt: {error!r}; restore it or remove it to go back to the one before"
            ) from error


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{what} is {name!r}; expected 1 to 64 of a-z, A-Z, 0-9, '_', '-', '.', beginning with a letter or digit",
            field=what,
        )
