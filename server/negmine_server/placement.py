"""Collections on devices: where their shards go, what mirrors and searches them there, and what encodes their items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial

from negmine.encoder import Encoder

from negmine_server.device.devices import Devices
from negmine_server.device.encoding import DeviceEncoder
from negmine_server.device.gpu import Gpu
from negmine_server.device.pages import DevicePages
from negmine_server.domain import VectorsOn
from negmine_server.encode import Encode
from negmine_server.engine.device import DeviceEngine
from negmine_server.index.pages import PAGE_ROWS
from negmine_server.index.partition import Partition
from negmine_server.scan.cuda.searchers import Searchers
from negmine_server.shard import Shard, ShardOptions
from negmine_server.spec import CollectionSpec


@dataclass(frozen=True, slots=True)
class Placement:
    """Puts collections on the devices of a server.

    Attributes:
        memory_bytes: what a collection may take on each device, its shards there in equal parts; None = what is free.
        vectors_on: where stored vectors are read from.
        threads, workers: as for `DeviceEngine`.
    """

    devices: Devices
    memory_bytes: int | None
    vectors_on: VectorsOn
    threads: Executor
    workers: int
    searchers: Searchers = field(default_factory=Searchers)

    def prepare(self, spec: CollectionSpec) -> None:
        """Compiles the kernels of a spec for every device that works, where that was not done yet.

        Raises:
            DeviceFailed: one does not compile.
        """
        for gpu in self.devices.gpus:
            if gpu.problem is None:
                self.searchers.of(gpu, spec.bits // 64, spec.metric)

    def place(self, spec: CollectionSpec) -> list[Gpu]:
        """A device for each shard of a new collection. Raises DeviceLost where none works, and as `prepare`."""
        self.prepare(spec)
        return self.devices.place(spec.shards)

    def shard_options(self, options: ShardOptions, gpus: Sequence[Gpu]) -> list[ShardOptions]:
        """The options of each shard of a collection: with a mirror on its device."""
        shards_on = Counter(gpus)
        return [replace(options, mirror=partial(self._mirror, options, gpu, shards_on[gpu])) for gpu in gpus]

    def _mirror(self, options: ShardOptions, gpu: Gpu, shards_there: int) -> DevicePages:
        return DevicePages(
            gpu,
            options.bits // 64,
            options.store,
            options.dimension,
            PAGE_ROWS,
            budget_bytes=None if self.memory_bytes is None else self.memory_bytes // shards_there,
            vectors_on=self.vectors_on,
        )

    def engine(self, shards: Sequence[Shard], gpus: Sequence[Gpu], partition: Partition | None) -> DeviceEngine:
        """What searches these shards on these devices."""
        return DeviceEngine(shards, gpus, self.searchers, self.threads, self.workers, partition)

    def encoding(self, gpus: Sequence[Gpu], encoder: Encoder) -> Encode:
        """What encodes a collection's upserts: the first of its devices."""
        made = DeviceEncoder(encoder, gpus[0])
        made.prepare()
        return made.encode_measured
