"""Opens a record's collection: its partition into buckets, then its shards, loaded from what is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from negmine_server import rebalance
from negmine_server.collection import Collection
from negmine_server.domain import I64
from negmine_server.encode import on_host
from negmine_server.engine.interface import Engine
from negmine_server.engine.local import LocalEngine
from negmine_server.index.blocks import NO_BUCKETS
from negmine_server.ledger import Record
from negmine_server.rebalance import BucketOptions, Rebalancer
from negmine_server.shard import Shard, ShardOptions
from negmine_server.spec import CollectionSpec
from negmine_server.storage.objects import Objects

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu
    from negmine_server.placement import Placement


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
    placement: Placement | None = None  # on devices

    def __call__(self, record: Record) -> Collection:
        spec, encoding = record.spec, on_host
        partition = rebalance.load(self.objects, record.partition_prefix)
        gpus = [] if self.placement is None else self.placement.place(spec)
        shards = self._shards(record, NO_BUCKETS if partition is None else partition.numbers, gpus)
        engine: Engine
        try:
            if self.placement is None:
                engine = LocalEngine(shards, self.scanners, self.workers, partition)
            else:
                engine = self.placement.engine(shards, gpus, partition)
                encoding = partial(self.placement.encoding, gpus)
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
                encoding=encoding,
            )
        except Exception:
            _close(shards)
            raise

    def _shards(self, record: Record, known_buckets: I64, gpus: Sequence[Gpu]) -> list[Shard]:
        options = [self.shard_options(record.spec)] * record.spec.shards
        if self.placement is not None:
            options = self.placement.shard_options(options[0], gpus)
        shards: list[Shard] = []
        try:
            for number in range(record.spec.shards):
                shard = Shard(
                    options[number],
                    self.objects,
                    record.shard_prefix(number),
                    on_applied=self.on_applied,
                    background=self.background,
                    known_buckets=known_buckets,
                )
                shards.append(shard)
        except Exception:
            _close(shards)
            raise
        return shards


def _close(shards: list[Shard]) -> None:
    for shard in shards:
        shard.close()
