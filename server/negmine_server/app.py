"""Composition root: wires everything, and owns start, drain and stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from negmine.v1 import collection_pb2, collection_pb2_grpc, index_pb2, index_pb2_grpc, mining_pb2, mining_pb2_grpc
from prometheus_client import ProcessCollector

from negmine_server import VERSION, freeze, metrics
from negmine_server.batcher import Batcher
from negmine_server.catalog import Catalog, Entry
from negmine_server.committer import CommitOptions
from negmine_server.device.devices import Devices, open_devices
from negmine_server.domain import VectorsOn
from negmine_server.keeper import Keeper
from negmine_server.opening import Opener
from negmine_server.rebalance import BucketOptions
from negmine_server.rpc.collections import CollectionService
from negmine_server.rpc.health import HealthService
from negmine_server.rpc.index import IndexService
from negmine_server.rpc.mining import MiningService, mine_work
from negmine_server.rpc.read_mine import MineLimits
from negmine_server.rpc.serving import Bell, Drain, under_way
from negmine_server.settings import Settings
from negmine_server.shard import ShardOptions
from negmine_server.spec import CollectionSpec
from negmine_server.storage.folder import hold
from negmine_server.storage.objects import LocalObjects
from negmine_server.storage.scratch import arrays_on_disk
from negmine_server.telemetry import CatalogMetrics, MetricsServer
from negmine_server.warm_up import warm_up

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu
    from negmine_server.placement import Placement

LOG = logging.getLogger(__name__)
DRAIN_POLL_S = 0.05
QUIET_S = 1.0  # without a search, after which buckets are kept at full speed
_SERVICES = tuple(
    file.DESCRIPTOR.services_by_name[name].full_name
    for file, name in (
        (mining_pb2, "MiningService"),
        (index_pb2, "IndexService"),
        (collection_pb2, "CollectionService"),
    )
)
_BUILD = metrics.info("negmine_build", "What is running.")


class StartError(Exception):
    """The server cannot start; the message says what to do."""


class App:
    """One server: `await start()`, `await stopped()`, `await stop()`.

    Args:
        open_devices: opens the devices of the setting `devices`, where `device` asks for them.
    """

    def __init__(self, settings: Settings, open_devices: Callable[[str], list[Gpu]] = open_devices) -> None:
        self._settings = settings
        self._open_devices = open_devices
        self._devices: Devices | None = None
        cores = os.cpu_count() or 1
        self._threads = settings.threads or cores
        self._scanners = ThreadPoolExecutor(self._threads, thread_name_prefix="scan")
        self._encoders = ThreadPoolExecutor(cores, thread_name_prefix="encode")
        self._background = ThreadPoolExecutor(2, thread_name_prefix="background")
        self._stop_asked = asyncio.Event()
        self._drain = Drain()
        self.grpc_port = 0
        self.metrics_port = 0

    async def start(self) -> None:
        """Binds, answers NOT_SERVING while kernels compile and logs replay, then serves.

        Raises:
            StartError: an address cannot be had.
            StorageFailed: the data folder cannot.
            DeviceFailed: a device cannot be had.
            DataLoss: the catalog is corrupt.
        """
        settings = self._settings
        self._held = hold(settings.data_dir)
        loop = asyncio.get_running_loop()
        self._bell, health_bell = Bell(loop), Bell(loop)
        if settings.device == "cuda":
            self._devices = Devices(self._open_devices(settings.devices), on_lost=health_bell.ring)
        self._objects = LocalObjects(settings.data_dir)
        on_disk = settings.vectors_in == "disk"
        self._allocate_vectors = arrays_on_disk(self._objects.scratch) if on_disk else np.zeros
        self._catalog = self._make_catalog()
        self._keeper = Keeper(self._catalog, lambda: self._batcher.quiet_s < QUIET_S)
        self._health = HealthService(self._catalog, _SERVICES, self._device_lost, health_bell)
        self._serve_metrics()  # before the gRPC server is there, which would have to be stopped when this fails
        self._server = self._make_server()
        await self._server.start()
        await loop.run_in_executor(self._background, warm_up)
        await loop.run_in_executor(self._background, self._catalog.open_all)
        self._keeper.start()
        self._health.open()
        LOG.info("serving on port %d, metrics on port %d", self.grpc_port, self.metrics_port)
        if settings.ports_file is not None:
            ports = json.dumps({"grpc": self.grpc_port, "metrics": self.metrics_port})
            scratch = settings.ports_file.with_suffix(".tmp")
            scratch.write_text(ports)
            scratch.replace(settings.ports_file)

    async def stopped(self) -> None:
        """Waits for `ask_to_stop`."""
        await self._stop_asked.wait()

    def ask_to_stop(self) -> None:
        """Ends `stopped`. To be called on the event loop."""
        self._stop_asked.set()

    async def stop(self) -> None:
        """Drains: NOT_SERVING first, calls in flight finish within `drain_s`, queued batches become durable."""
        LOG.info("draining, up to %g s", self._settings.drain_s)
        self._health.close()
        self._drain.ask()
        stopping = asyncio.ensure_future(self._server.stop(self._settings.drain_s))
        while under_way() and not stopping.done():  # noqa: ASYNC110 (ends with the drain)
            await asyncio.sleep(DRAIN_POLL_S)
        await asyncio.sleep(DRAIN_POLL_S)  # the last replies are on their way
        await self._server.stop(0)  # health watches would go on for the whole drain
        await stopping
        await asyncio.get_running_loop().run_in_executor(self._background, self._batcher.close)
        await asyncio.get_running_loop().run_in_executor(self._background, self._keeper.stop)
        await asyncio.get_running_loop().run_in_executor(self._background, self._catalog.close)
        self._metrics.close()
        if self._devices is not None:
            self._devices.close()
        for pool in (self._scanners, self._encoders, self._background):
            pool.shutdown()
        self._held.close()
        LOG.info("stopped")

    def _make_catalog(self) -> Catalog:
        settings = self._settings
        placement = None if self._devices is None else self._placement(self._devices)
        opener = Opener(
            objects=self._objects,
            shard_options=self._shard_options,
            bucket_options=BucketOptions(settings.bucket_from_rows, settings.bucket_rows_min),
            scanners=self._scanners,
            workers=self._threads,
            background=self._background,
            on_applied=self._bell.ring,
            step_ahead_max=settings.step_ahead_max,
            placement=placement,
        )
        if placement is None:
            return Catalog(self._objects, opener, collections_max=settings.collections_max)
        return Catalog(self._objects, opener, collections_max=settings.collections_max, prepare=placement.prepare)

    def _placement(self, devices: Devices) -> Placement:
        from negmine_server.placement import Placement  # noqa: PLC0415 (it imports torch)

        settings = self._settings
        memory = int(settings.device_memory * (1 << 30)) or None
        return Placement(devices, memory, VectorsOn(settings.device_vectors), self._scanners, self._threads)

    def _shard_options(self, spec: CollectionSpec) -> ShardOptions:
        settings = self._settings
        return ShardOptions(
            bits=spec.bits,
            dimension=spec.dimension,
            metric=spec.metric,
            store=spec.kept_store,
            commit=CommitOptions(settings.log_window, settings.commit_bytes_max, settings.shard_queue_batches_max),
            writers_max=settings.writers_max,
            tombstone_age_s=settings.tombstone_age_s,
            snapshot_log_bytes=settings.snapshot_log_bytes,
            allocate_vectors=self._allocate_vectors,
        )

    def _after_upsert(self, entry: Entry) -> None:
        if entry.record.spec.estimating and freeze.due(entry):
            self._background.submit(self._freeze, entry)

    def _freeze(self, entry: Entry) -> None:
        try:
            freeze.freeze(entry, self._catalog, self._objects)
        except Exception:
            LOG.exception("collection %s: its encoder could not be frozen", entry.record.name)

    def _make_server(self) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(
            options=(
                ("grpc.max_receive_message_length", settings.message_bytes_max),
                ("grpc.max_send_message_length", settings.message_bytes_max),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            )
        )
        limits = MineLimits(
            settings.anchors_max, settings.k_max, settings.pool_max, settings.max_scanned, settings.positives_max
        )
        self._batcher = Batcher(
            mine_work(limits),
            workers=settings.mine_workers,
            anchors_max=settings.queue_anchors_max,
            batch_anchors_max=settings.batch_anchors_max or (256 if self._devices is None else 1024),
            linger_s=settings.linger_ms * 1e-3,
        )
        wait_s = settings.watermark_wait_s
        mining_pb2_grpc.add_MiningServiceServicer_to_server(
            MiningService(self._catalog, self._batcher, limits, self._encoders, self._bell, self._drain, wait_s), server
        )
        index = IndexService(
            self._catalog,
            self._encoders,
            self._bell,
            self._drain,
            self._after_upsert,
            settings.batch_rows_max,
            settings.upsert_window,
            wait_s,
        )
        index_pb2_grpc.add_IndexServiceServicer_to_server(index, server)
        collection_pb2_grpc.add_CollectionServiceServicer_to_server(
            CollectionService(
                self._catalog,
                self._background,
                self._wire_limits(),
                self._default_shards,
                settings.recall_target,
                self._backend,
            ),
            server,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if settings.reflection:
            reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        self.grpc_port = self._bind(server)
        return server

    def _bind(self, server: grpc.aio.Server) -> int:
        settings = self._settings
        try:
            if settings.tls_certificate is not None and settings.tls_key is not None:
                pair = (_pem(settings.tls_key, "key"), _pem(settings.tls_certificate, "certificate"))
                return int(server.add_secure_port(settings.listen, grpc.ssl_server_credentials([pair])))
            return int(server.add_insecure_port(settings.listen))
        except RuntimeError as error:
            why = "the address is in use, or not one of this machine, or the TLS pair is not valid"
            raise StartError(f"cannot listen on {settings.listen!r}: {why} ({error})") from error

    def _serve_metrics(self) -> None:
        listen = self._settings.metrics_listen
        _BUILD.info({"version": VERSION, "backend": self._backend, "python": platform.python_version()})
        try:
            self._metrics = MetricsServer(listen, [CatalogMetrics(self._catalog), ProcessCollector(registry=None)])
        except (OSError, ValueError) as error:
            raise StartError(f"cannot listen on {listen!r} for metrics: {error}") from error
        self.metrics_port = self._metrics.port

    @property
    def _backend(self) -> str:
        return "cpu" if self._devices is None else f"cuda ({self._devices.description})"

    @property
    def _default_shards(self) -> int:
        scanning = self._threads if self._devices is None else len(self._devices.gpus)
        return self._settings.default_shards or 1 << (scanning - 1).bit_length()

    def _device_lost(self) -> bool:
        return self._devices is not None and self._devices.lost

    def _wire_limits(self) -> collection_pb2.Limits:
        settings = self._settings
        names = [field.name for field in collection_pb2.Limits.DESCRIPTOR.fields]
        return collection_pb2.Limits(**{name: getattr(settings, name) for name in names})


def _pem(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise StartError(f"TLS {what} {str(file)!r} cannot be read: {error.strerror}") from error
