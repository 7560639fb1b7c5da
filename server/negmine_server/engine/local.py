"""Runs a collection's shards in this process: searches fan out to threads, one task per shard and block of anchors."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Batch, Bool, Candidates, Query, VectorStore
from negmine_server.engine.interface import Sent
from negmine_server.engine.merge import merge
from negmine_server.engine.routing import shard_of
from negmine_server.errors import NegmineError
from negmine_server.index import buckets, drawing
from negmine_server.index.pages import OPTIONALS, Column
from negmine_server.index.partition import Partition
from negmine_server.shard import Shard, ShardStats, SnapshotResult

# Anchors of one task: few enough to keep all threads busy to the end. With fewer for each thread than the least,
# threads take shards instead.
BLOCK_ANCHORS_MIN = 32
BLOCK_ANCHORS_MAX = 256


class LocalEngine:
    """Shards on `workers` threads of this process."""

    def __init__(
        self, shards: Sequence[Shard], threads: Executor, workers: int, partition: Partition | None = None
    ) -> None:
        self.partition = partition
        self._shards = shards
        self._threads = threads
        self._workers = workers

    @property
    def sequences(self) -> tuple[int, ...]:
        """See Engine."""
        return tuple(shard.sequence for shard in self._shards)

    @property
    def newest(self) -> int:
        """See Engine."""
        return max(shard.newest for shard in self._shards)

    @property
    def highest_bucket(self) -> int:
        """See Engine."""
        return max(shard.highest_bucket for shard in self._shards)

    @property
    def problem(self) -> NegmineError | None:
        """See Engine."""
        return next((shard.problem for shard in self._shards if shard.problem is not None), None)

    def apply(self, batch: Batch) -> list[Sent]:
        """See Engine. A shard that cannot queue its part fails that part's future, not the others'."""
        owners = shard_of(batch.ids, len(self._shards))
        sent: list[Sent] = []
        for number, shard in enumerate(self._shards):
            rows = np.flatnonzero(owners == number)
            if rows.size == 0:
                continue
            part = batch if rows.size == batch.rows else batch.take(rows)
            try:
                outcome = shard.apply(part)
            except NegmineError as error:
                outcome = Future()
                outcome.set_exception(error)
            sent.append(Sent(rows, outcome))
        return sent

    def search(self, query: Query, r: int, *, rescore: bool) -> Candidates:
        """See Engine."""
        begin = time.perf_counter()
        if query.rows >= self._workers * BLOCK_ANCHORS_MIN:
            width = min(-(-query.rows // self._workers), BLOCK_ANCHORS_MAX)
            blocks = [query.take(slice(start, start + width)) for start in range(0, query.rows, width)]
            turns = [self._threads.submit(self._search_in_turn, block, r, rescore) for block in blocks]
            parts = [turn.result() for turn in turns]
        else:
            pieces = -(-self._workers // len(self._shards))
            works = [work for shard in self._shards for work in shard.searches(query, r, pieces, rescore=rescore)]
            sides = [self._threads.submit(work) for work in works]
            parts = [merge([side.result() for side in sides], r)]
        found = parts[0] if len(parts) == 1 else _stack(parts)
        elapsed = time.perf_counter() - begin
        # Tasks run side by side: what they took in all only says how the time from here to there is shared out.
        rescored = sum(part.rescore_s for part in parts)
        share = rescored / max(rescored + sum(part.scan_s for part in parts), 1e-9)
        return replace(found, scan_s=elapsed * (1 - share), rescore_s=elapsed * share)

    def search_here(self, query: Query, r: int) -> Candidates:
        """See Engine."""
        return self._search_in_turn(query, r, rescore=False)

    def _search_in_turn(self, query: Query, r: int, rescore: bool) -> Candidates:
        return in_turn([partial(shard.search, r=r, rescore=rescore) for shard in self._shards], query, r)

    def score(self, query: Query, anchors: I64, ids: I64, *, rescore: bool) -> tuple[F32, Bool]:
        """See Engine."""
        scores = np.full(len(ids), np.nan, np.float32)
        found = np.zeros(len(ids), np.bool_)
        owners = shard_of(ids, len(self._shards))
        for number, shard in enumerate(self._shards):
            rows = np.flatnonzero(owners == number)
            if rows.size:
                scores[rows], found[rows] = shard.score(query, anchors[rows], ids[rows], rescore=rescore)
        return scores, found

    def fetch(self, ids: I64, names: frozenset[str] | None = None) -> tuple[Bool, dict[str, NDArray[Any]]]:
        """See Engine."""
        found = np.zeros(len(ids), np.bool_)
        parts: list[tuple[I64, dict[str, NDArray[Any]]]] = []
        owners = shard_of(ids, len(self._shards))
        for number, shard in enumerate(self._shards):
            rows = np.flatnonzero(owners == number)
            if rows.size:
                found[rows], columns = shard.fetch(ids[rows], names)
                if found[rows].any():
                    parts.append((rows[found[rows]], columns))
        order = np.argsort(np.concatenate([rows for rows, _ in parts])) if parts else np.empty(0, np.int64)
        held = dict.fromkeys(name for _, columns in parts for name in columns)
        return found, {
            name: np.concatenate(
                [columns[name] if name in columns else _absent(name, len(rows)) for rows, columns in parts]
            )[order]
            for name in held
        }

    def draw(self, seed: int, low: int, n: int) -> tuple[I64, U64]:
        """See Engine."""
        drawn = [drawing.draw(shard.view, seed, low, n) for shard in self._shards]
        ids, keys = (np.concatenate(column) for column in zip(*drawn, strict=True))
        order = np.argsort(keys)[:n]
        return ids[order], keys[order]

    def has(self, column: str) -> bool:
        """See Engine."""
        return any(column in shard.view.optional_names() for shard in self._shards)

    @property
    def has_vectors(self) -> bool:
        """See Engine."""
        return self._shards[0].options.store is not VectorStore.NONE

    def sample(self, bucket: int | None, n: int, seed: int) -> U64:
        """See Engine."""
        share = -(-n // len(self._shards))
        return np.concatenate([buckets.sample(shard.view, bucket, share, seed) for shard in self._shards])

    def bucket_of(self, ids: I64) -> I64:
        """See Engine."""
        numbers = np.full(len(ids), -1, np.int64)
        owners = shard_of(ids, len(self._shards))
        for number, shard in enumerate(self._shards):
            rows = np.flatnonzero(owners == number)
            numbers[rows] = shard.bucket_of(ids[rows])
        return numbers

    def bucket_rows(self) -> dict[int, int]:
        """See Engine."""
        total: Counter[int] = Counter()
        for shard in self._shards:
            total.update(shard.view.bucket_rows())
        return dict(total)

    def bucket_sizes(self) -> list[I64]:
        """See Engine."""
        partition, rows = self.partition, [shard.view.bucket_rows() for shard in self._shards]
        if partition is None:
            return [np.array([sum(held.values())]) for held in rows]
        numbers = partition.numbers.tolist()
        return [np.array([held.get(number, 0) for number in numbers]) for held in rows]

    def reroute(self, bucket: int, most: int) -> int:
        """See Engine."""
        assert self.partition is not None, "rows are routed by a partition"
        return sum(shard.reroute(bucket, most, self.partition.route) for shard in self._shards)

    def snapshot(self) -> list[SnapshotResult]:
        """See Engine."""
        return [shard.snapshot() for shard in self._shards]

    def stats(self) -> list[ShardStats]:
        """See Engine."""
        return [shard.stats() for shard in self._shards]

    def close(self) -> None:
        """See Engine."""
        for shard in self._shards:
            shard.close()


def in_turn(searches: Sequence[Callable[[Query], Candidates]], query: Query, r: int) -> Candidates:
    """One search after the other: each needs only what is not below the best r of those before it."""
    found = searches[0](query)
    for search in searches[1:]:
        bars = np.where(found.counts >= r, found.scores[:, -1], -np.inf).astype(np.float32)
        bounded = replace(query, floors=np.maximum(query.floors, bars))
        found = merge([found, search(bounded)], r)
    return found


def _absent(name: str, n: int) -> NDArray[Any]:
    """An optional column [n] of items of a shard in which no item has a value."""
    spec = next(spec for spec in OPTIONALS if spec.name == name)
    values = np.full(n, spec.fill, spec.dtype)
    return ~values if spec.column is Column.GROUPS else values


def _stack(blocks: list[Candidates]) -> Candidates:
    width = max(block.ids.shape[1] for block in blocks)
    assert all(block.ids.shape[1] == width for block in blocks), "blocks of one search are as wide as each other"
    exact = [block.rescored for block in blocks if block.rescored is not None]
    return Candidates(
        ids=np.concatenate([block.ids for block in blocks]),
        scores=np.concatenate([block.scores for block in blocks]),
        rescored=np.concatenate(exact) if exact else None,
        versions=np.concatenate([block.versions for block in blocks]),
        counts=np.concatenate([block.counts for block in blocks]),
        above=np.concatenate([block.above for block in blocks]),
        scanned=blocks[0].scanned,
    )
