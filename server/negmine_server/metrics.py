"""The metrics registry and the stage timer. Each metric is declared in the module that observes it.

Conventions: prefix `negmine_`, base units, unit suffix, `_total`, few label values (never an id), histogram buckets
geometric from 100 µs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client import Info as _Info
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()
SECONDS = tuple(1e-4 * 2**i for i in range(18))  # 100 µs to 13 s
ROWS = tuple(float(4**i) for i in range(10))  # 1 to 262,144


def counter(name: str, text: str, *labels: str) -> Counter:
    """A counter in the registry; `name` without `_total`."""
    return Counter(name, text, labels, registry=REGISTRY)


def gauge(name: str, text: str, *labels: str) -> Gauge:
    """A gauge in the registry."""
    return Gauge(name, text, labels, registry=REGISTRY)


def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
    """A histogram in the registry, by default of seconds."""
    return Histogram(name, text, labels, registry=REGISTRY, buckets=buckets)


def info(name: str, text: str) -> _Info:
    """Constant facts as labels of a gauge that is 1."""
    return _Info(name, text, registry=REGISTRY)


class ArrayHistogram(Collector):
    """A histogram that takes a whole array at a time: 16,384 observations one by one would take 20 ms."""

    def __init__(self, name: str, text: str, buckets: tuple[float, ...]) -> None:
        self._name, self._text = name, text
        self._bounds = np.asarray(buckets)
        self._counts = np.zeros(len(buckets) + 1, np.int64)
        self._sum = 0.0
        self._lock = Lock()

    def observe(self, values: NDArray[Any]) -> None:
        """Observes every value."""
        if values.size and values.min() == values.max():  # the usual case: everything has one age
            values, weight = values.reshape(-1)[:1], values.size
        else:
            weight = 1
        counts = np.bincount(np.searchsorted(self._bounds, values), minlength=len(self._counts)) * weight
        with self._lock:
            self._counts += counts
            self._sum += float(values.sum()) * weight

    def collect(self) -> Iterator[Metric]:
        """The metric as it is now."""
        with self._lock:
            cumulative, total = np.cumsum(self._counts), self._sum
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        buckets = [(bound, float(count)) for bound, count in zip(bounds, cumulative, strict=True)]
        yield HistogramMetricFamily(self._name, self._text, buckets=buckets, sum_value=total)


def array_histogram(name: str, text: str, *, buckets: tuple[float, ...]) -> ArrayHistogram:
    """A histogram for arrays in the registry."""
    made = ArrayHistogram(name, text, buckets)
    REGISTRY.register(made)
    return made


_STAGE = histogram("negmine_stage_seconds", "Time of one stage of a Mine.", "stage")


@cache
def _stage(name: str) -> Histogram:
    return _STAGE.labels(name)


class Stages:
    """Times the stages of one request: each is observed as a metric and kept, in milliseconds, for the reply."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Times a block as `stage`; a stage that runs again adds up."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - begin)

    def add(self, stage: str, seconds: float) -> None:
        """Adds a duration measured elsewhere."""
        _stage(stage).observe(seconds)
        self.timings_ms[stage] = self.timings_ms.get(stage, 0.0) + seconds * 1e3
