"""Named collections and aliases, persisted in the ledger.

A change is durable before it takes effect. A collection whose stored bytes are corrupt is listed with its problem and
not served; the others are.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from threading import RLock

from negmine_server.collection import Collection
from negmine_server.errors import (
    AlreadyExists,
    DataLoss,
    Fenced,
    InvalidInput,
    Loading,
    NegmineError,
    NotFound,
    NotReady,
    TooLarge,
)
from negmine_server.ledger import Ledger, Record
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import Objects, delete_all

LOG = logging.getLogger(__name__)
LOADING_RETRY_MS = 200
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class State(Enum):
    """Whether a collection serves."""

    SERVING = "serving"
    DATA_LOSS = "data_loss"
    FENCED = "fenced"
    LOADING = "loading"
    FAILED = "failed"


@dataclass(slots=True)
class Entry:
    """A collection with what serves it."""

    record: Record
    collection: Collection | None = None
    problem: NegmineError | None = None  # why it is not served

    @property
    def state(self) -> State:
        """Whether it serves."""
        problem = self._problem
        if problem is None:
            return State.LOADING if self.collection is None else State.SERVING
        if isinstance(problem, DataLoss):
            return State.DATA_LOSS
        return State.FENCED if isinstance(problem, Fenced) else State.FAILED

    @property
    def reason(self) -> str:
        """Why it does not serve; empty where it does."""
        return "" if self._problem is None else self._problem.message

    @property
    def _problem(self) -> NegmineError | None:
        return self.problem or (self.collection.engine.problem if self.collection else None)


class Catalog:
    """Thread-safe; calls block on storage.

    Args:
        open_collection: makes a record's collection, loading what is stored of it.
        prepare: does what takes long for the first collection of a kind; others are served meanwhile.
    """

    def __init__(
        self,
        objects: Objects,
        open_collection: Callable[[Record], Collection],
        *,
        collections_max: int,
        prepare: Callable[[CollectionSpec], None] = lambda _: None,
    ) -> None:
        self._objects = objects
        self._open = open_collection
        self._collections_max = collections_max
        self._prepare = prepare
        self._lock = RLock()
        self._ledger = Ledger(objects)
        records, self._aliases = self._ledger.load()
        self._entries = {name: Entry(record) for name, record in records.items()}

    def open_all(self) -> None:
        """Opens every collection; one that is corrupt keeps its problem."""
        for entry in list(self._entries.values()):
            begin = time.perf_counter()
            try:
                entry.collection = self._open(entry.record)
            except NegmineError as error:
                entry.problem = error
                name = entry.record.name
                LOG.error("collection %s is not served: %s", name, error)  # noqa: TRY400 (the message says it)
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
            Loading: its logs are being replayed.
            DataLoss, NotReady, …: it is not served; says why.
        """
        entry = self.entry(name)
        if entry.problem is not None:
            raise type(entry.problem)(f"collection {entry.record.name!r} is not served: {entry.problem.message}")
        if entry.collection is None:
            raise Loading(f"collection {entry.record.name!r} is loading", retry_after_ms=LOADING_RETRY_MS)
        return entry.collection

    def entry(self, name: str) -> Entry:
        """The entry behind a name or alias."""
        with self._lock:
            entry = self._entries.get(self._aliases.get(name, name))
        if entry is None:
            raise NotFound(f"no collection or alias {name!r}", field="collection")
        return entry

    def entries(self) -> list[Entry]:
        """All collections by name."""
        with self._lock:
            return [self._entries[name] for name in sorted(self._entries)]

    def aliases(self) -> dict[str, str]:
        """All aliases."""
        with self._lock:
            return dict(sorted(self._aliases.items()))

    def create(self, name: str, spec: CollectionSpec, *, exist_ok: bool) -> tuple[Entry, bool]:
        """A new collection, or with `exist_ok` the one of the same spec; and whether it is new."""
        _check_name(name, "name")
        spec.check()
        self._prepare(spec)
        with self._lock:
            there = self._entries.get(name)
            if there is not None and exist_ok and there.record.spec.same_as(spec):
                return there, False
            if there is not None or name in self._aliases:
                what = "a collection" if there is not None else "an alias"
                raise AlreadyExists(f"{name!r} is {what} already", field="name")
            if len(self._entries) >= self._collections_max:
                raise TooLarge(f"there are {self._collections_max} collections, the most this server keeps")
            record = Record(name, uuid.uuid4().hex, spec, 0, int(time.time() * 1e3))
            collection = self._open(record)  # its logs are durable before the catalog names it
            try:
                self._ledger.save([*self._records().values(), record], self._aliases)
            except NegmineError:
                collection.close()
                delete_all(self._objects, record.prefix)
                raise
            entry = self._entries[name] = Entry(record, collection)
            return entry, True

    def drop(self, name: str) -> None:
        """Forgets a collection, then deletes what is stored of it."""
        with self._lock:
            if name in self._aliases:
                raise InvalidInput(f"{name!r} is an alias; expected a collection's name", field="collection")
            entry = self.entry(name)
            pointing = [alias for alias, target in self._aliases.items() if target == name]
            if pointing:
                raise NotReady(f"alias {pointing[0]!r} points at {name!r}; drop or move it first", reason="ALIASED")
            records = self._records()
            del records[name]
            self._ledger.save(records.values(), self._aliases)
            del self._entries[name]
        if entry.collection is not None:
            entry.collection.close()
        delete_all(self._objects, entry.record.folder)

    def set_alias(self, alias: str, name: str) -> str:
        """Points an alias at a collection; returns what it pointed at before."""
        _check_name(alias, "alias")
        with self._lock:
            if alias in self._entries:
                raise AlreadyExists(f"{alias!r} is a collection", field="alias")
            if name not in self._entries:
                raise NotFound(f"no collection {name!r}", field="collection")
            previous = self._aliases.get(alias, "")
            aliases = {**self._aliases, alias: name}
            self._ledger.save(self._records().values(), aliases)
            self._aliases = aliases
            return previous

    def drop_alias(self, alias: str) -> None:
        """Removes an alias."""
        with self._lock:
            if alias not in self._aliases:
                raise NotFound(f"no alias {alias!r}", field="alias")
            aliases = {key: value for key, value in self._aliases.items() if key != alias}
            self._ledger.save(self._records().values(), aliases)
            self._aliases = aliases

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
        """Gives a collection the spec with its mean estimated: opens what was written for it."""
        with self._lock:
            old = entry.record
            if self._entries.get(old.name) is not entry:
                raise NotFound(f"collection {old.name!r} was dropped meanwhile")
            record = replace(old, spec=spec)
            collection = self._open(record)
            try:
                self._replace(entry, record)
            except NegmineError:
                collection.close()
                raise
            entry.collection = collection

    def sweep(self, entry: Entry) -> None:
        """Deletes what is stored of a collection, if it was dropped."""
        with self._lock:
            dropped = self._entries.get(entry.record.name) is not entry
        if dropped:
            delete_all(self._objects, entry.record.folder)

    def close(self) -> None:
        """Finishes what is queued in every collection."""
        for entry in self.entries():
            if entry.collection is not None:
                entry.collection.close()

    def _records(self) -> dict[str, Record]:
        return {name: entry.record for name, entry in self._entries.items()}

    def _replace(self, entry: Entry, record: Record) -> None:
        self._ledger.save({**self._records(), record.name: record}.values(), self._aliases)
        entry.record = record


def _check_name(name: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{what} is {name!r}; expected 1 to 64 of a-z, A-Z, 0-9, '_', '-', '.', beginning with a letter or digit",
            field=what,
        )
