"""Where Prometheus scrapes, and metrics of state read when it does: rows, bytes and balance of every shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from negmine_server.balance import balance
from negmine_server.catalog import Catalog, Entry, State
from negmine_server.metrics import REGISTRY, ROWS

_SHARD = ("collection", "shard")


class MetricsServer:
    """Serves /metrics on HOST:PORT with these collectors in the registry, until `close`.

    Raises:
        OSError, ValueError: the address cannot be had.
    """

    def __init__(self, listen: str, collectors: Sequence[Collector]) -> None:
        host, _, port = listen.rpartition(":")
        self._server, self._thread = start_http_server(int(port), host.strip("[]") or "::", REGISTRY)
        self.port = int(self._server.server_port)
        self._collectors = collectors
        for collector in collectors:
            REGISTRY.register(collector)

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for collector in self._collectors:
            REGISTRY.unregister(collector)


class CatalogMetrics(Collector):
    """What the catalog's collections hold. Bucket metrics are per shard; a shard without buckets counts as one."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        states = GaugeMetricFamily("negmine_collections", "Collections by whether they serve.", labels=["state"])
        entries = self._catalog.entries()
        for state in State:
            states.add_metric([state.value], sum(entry.state is state for entry in entries))
        yield states
        gauges = {
            name: GaugeMetricFamily(f"negmine_{name}", text, labels=_SHARD)
            for name, text in (
                ("rows", "Live rows."),
                ("dead_rows", "Overwritten or deleted rows that wait for compaction."),
                ("tombstones", "Deletes that are remembered."),
                ("device_bytes", "Bytes taken on the shard's device."),
                ("log_bytes", "Log bytes behind the latest snapshot."),
                ("log_sequence", "Log sequence up to which everything is visible."),
                ("loose_rows", "Rows that have not been given a bucket yet."),
                ("buckets", "Buckets."),
                ("bucket_max_over_mean", "Rows of the largest bucket over the mean."),
                ("bucket_variation", "Standard deviation of bucket rows over their mean."),
                ("bucket_empty_share", "Share of empty buckets."),
                ("bucket_entropy", "Entropy of bucket rows over that of equal ones; 1 = balanced."),
            )
        }
        memory = GaugeMetricFamily("negmine_memory_bytes", "Bytes in memory by kind.", labels=[*_SHARD, "kind"])
        sizes = HistogramMetricFamily("negmine_bucket_rows", "Live rows of each bucket.", labels=_SHARD)
        for entry in entries:
            if entry.collection is None:
                continue
            engine = entry.collection.engine
            for number, (shard, buckets) in enumerate(zip(engine.stats(), engine.bucket_sizes(), strict=True)):
                labels = [entry.record.name, str(number)]
                even = balance(buckets)
                values = {
                    "rows": shard.rows.rows,
                    "dead_rows": shard.rows.dead_rows,
                    "tombstones": shard.rows.tombstones,
                    "device_bytes": shard.rows.device_bytes,
                    "log_bytes": shard.log_bytes,
                    "log_sequence": shard.sequence,
                    "loose_rows": max(0, shard.rows.rows - int(buckets.sum())),
                    "buckets": len(buckets),
                    "bucket_max_over_mean": even.max_over_mean,
                    "bucket_variation": even.variation,
                    "bucket_empty_share": even.empty_share,
                    "bucket_entropy": even.entropy,
                }
                for name, value in values.items():
                    gauges[name].add_metric(labels, value)
                for kind, count in shard.rows.bytes.items():
                    memory.add_metric([*labels, kind], count)
                counted = [(f"{bound:g}", float((buckets <= bound).sum())) for bound in ROWS]
                sizes.add_metric(labels, [*counted, ("+Inf", float(len(buckets)))], float(buckets.sum()))
        yield from gauges.values()
        yield from (memory, sizes)
        yield from _of_collections(entries)


def _of_collections(entries: list[Entry]) -> Iterator[Metric]:
    newest, target, measured = (
        GaugeMetricFamily(f"negmine_{name}", text, labels=["collection"])
        for name, text in (
            ("newest_step", "Newest model step."),
            ("recall_target", "Recall where a request names none."),
            ("measured_recall", "Recall of sampled requests against their exact answers."),
        )
    )
    for entry in entries:
        if entry.collection is not None:
            name, recall = [entry.record.name], entry.collection.canary.calibration.measured
            newest.add_metric(name, entry.collection.newest.step)
            target.add_metric(name, entry.record.spec.recall_target)
            measured.add_metric(name, 1.0 if recall is None else recall)
    yield from (newest, target, measured)
