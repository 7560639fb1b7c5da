"""Runs a collection's shards on devices: each device searches its shards one after the other, devices side by side.

Rows, ids and logs are the host's, as in `local`; a device holds a mirror of what scans read. What is asked about single
ids is answered on the host.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from negmine_server import metrics
from negmine_server.domain import Candidates, Query
from negmine_server.engine.local import LocalEngine, in_turn
from negmine_server.engine.merge import merge
from negmine_server.errors import NegmineError
from negmine_server.index.partition import Partition
from negmine_server.shard import Shard

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu
    from negmine_server.scan.cuda.search import Searcher
    from negmine_server.scan.cuda.searchers import Searchers

_ON_HOST = metrics.counter(
    "negmine_device_searches_on_host", "Searches of a shard that its device has no room to mirror, done on the host."
)


class DeviceEngine(LocalEngine):
    """Shards whose rows are mirrored on devices.

    Args:
        gpus: each shard's.
        searchers: of the server.
        threads, workers: as for `LocalEngine`, for what the host does.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        gpus: Sequence[Gpu],
        searchers: Searchers,
        threads: Executor,
        workers: int,
        partition: Partition | None = None,
    ) -> None:
        super().__init__(shards, threads, workers, partition)
        self._gpus = tuple(dict.fromkeys(gpus))
        self._held: dict[Gpu, list[tuple[Shard, Searcher]]] = {gpu: [] for gpu in self._gpus}
        for shard, gpu in zip(shards, gpus, strict=True):
            options = shard.options
            self._held[gpu].append((shard, searchers.of(gpu, options.bits // 64, options.metric)))

    @property
    def problem(self) -> NegmineError | None:
        """See Engine. A lost device is one."""
        lost = next((gpu.problem for gpu in self._gpus if gpu.problem is not None), None)
        return lost or super().problem

    def search(self, query: Query, r: int, *, rescore: bool) -> Candidates:
        """See Engine.

        Raises:
            DeviceLost: a device does not answer; its shards' rows and logs are safe.
            DeviceFull: a device has no room for the search.
        """
        return self._search(query, r, rescore=rescore, insist=False)

    def search_here(self, query: Query, r: int) -> Candidates:
        """See Engine. Probes what it is told to even where that is no gain: it is asked how good probing is."""
        return self._search(query, r, rescore=False, insist=True)

    def _search(self, query: Query, r: int, *, rescore: bool, insist: bool) -> Candidates:
        begin = time.perf_counter()
        turns = [
            gpu.worker.submit(self._search_on, gpu, query, r, rescore=rescore, insist=insist) for gpu in self._gpus
        ]
        parts = [turn.result() for turn in turns]
        found = parts[0] if len(parts) == 1 else merge(parts, r)
        return replace(found, scan_s=time.perf_counter() - begin, rescore_s=0.0)

    def _search_on(self, gpu: Gpu, query: Query, r: int, *, rescore: bool, insist: bool) -> Candidates:
        def search(shard: Shard, searcher: Searcher, query: Query) -> Candidates:
            view = shard.view
            if view.mirrored is None:
                _ON_HOST.inc()
                return shard.search(query, r, rescore=rescore)
            return searcher.top_r(view, query, r, rescored=rescore, insist=insist)

        return in_turn([partial(search, *held) for held in self._held[gpu]], query, r)
