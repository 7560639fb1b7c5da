"""Opens a record's collection: its partition into buckets, then its shards, loaded from what is stored."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from negmine_server import rebalance
from negmine_server.collection import Collection
from negmine_server.domain import I64
from negmine_server.engine.local import LocalEngine
from negmine_server.index.blocks import NO_BUCKETS
from negmine_server.ledger import Record
from negmine_server.rebalance import BucketOptions, Rebalancer
from negmine_server.shard import Shard, ShardOptions
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import Objects


@dataclass(frozen=True, slots=True)
class Opener:
    """What all collections of a server share. A call with a record opens its collection; raises what storage raises."""

    objects: Objects
    shard_options: Callable[[CollectionSpec], ShardOptions]
    bucket_options: BucketOptions
    scanners: Executor  # with `workers` threads
    workers: int
    background: Executor  # takes snapshots
    on_applied: Callable[[], None]  # called by writer threads when something has become visible
    step_ahead_max: int

    def __call__(self, record: Record) -> Collection:
        spec = record.spec
        partition = rebalance.load(self.objects, record.partition_prefix)
        shards = self._shards(record, NO_BUCKETS if partition is None else partition.numbers)
        engine = LocalEngine(shards, self.scanners, self.workers, partition)
        rebalancer = None
        if not spec.estimating:
            rebalancer = Rebalancer(engine, self.objects, record.partition_prefix, self.bucket_options, spec.seed)
        return Collection(
            record.name,
            spec,
            record.incarnation,
            record.generation,
            engine,
            rebalancer,
            step_ahead_max=self.step_ahead_max,
        )

    def _shards(self, record: Record, known_buckets: I64) -> list[Shard]:
        options = self.shard_options(record.spec)
        shards: list[Shard] = []
        try:
            for number in range(record.spec.shards):
                shard = Shard(
                    options,
                    self.objects,
                    record.shard_prefix(number),
                    on_applied=self.on_applied,
                    background=self.background,
                    known_buckets=known_buckets,
                )
                shards.append(shard)
        except Exception:
            for shard in shards:
                shard.close()
            raise
        return shards
