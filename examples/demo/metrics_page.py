"""One page of the server's metrics: what a person would look at first, histograms folded to one line each."""

from __future__ import annotations

import math
import urllib.request
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.samples import Sample

TIMEOUT_S = 10.0
SHOWN = (
    "negmine_build_info",
    "negmine_rows",
    "negmine_log_bytes",
    "negmine_upsert_rows",
    "negmine_commit_rows",
    "negmine_log_fsync_seconds",
    "negmine_mine_anchors",
    "negmine_rpc_seconds",
    "negmine_stage_seconds",
    "negmine_dropped_candidates",
    "negmine_starved_anchors",
    "negmine_staleness_steps",
    "process_resident_memory_bytes",
)


def read_metrics(url: str) -> dict[str, Metric]:
    """The metric families of /metrics by name. Raises OSError when nobody answers, ValueError for another format."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}


def page(families: dict[str, Metric]) -> Table:
    """The families of SHOWN, series by series; those that nothing was counted in are left out."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column("series")
    table.add_column("value", justify="right", no_wrap=True)
    for name in SHOWN:
        if name in families:
            family = families[name]
            rows = _histograms(family) if family.type == "histogram" else _values(family)
            for series, value in rows:
                table.add_row(Text(series, no_wrap=True, overflow="ellipsis"), value)
    return table


def _values(family: Metric) -> list[tuple[str, str]]:
    return [
        (_series(sample.name, sample.labels), f"{sample.value:,.0f}")
        for sample in family.samples
        if sample.value and not sample.name.endswith("_created")
    ]


def _histograms(family: Metric) -> list[tuple[str, str]]:
    """Count, mean and the bucket that holds the 99th percentile, for each set of labels."""
    parts: dict[str, list[Sample]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        parts.setdefault(_series(family.name, labels), []).append(sample)
    folded = []
    for series, samples in parts.items():
        values = {sample.name.removeprefix(family.name): sample.value for sample in samples}
        if count := values.get("_count"):
            bounds = [(float(sample.labels["le"]), sample.value) for sample in samples if "le" in sample.labels]
            p99 = min((bound for bound, below in bounds if below >= 0.99 * count), default=math.inf)
            mean, most = (_quantity(value, family.name) for value in (values["_sum"] / count, p99))
            folded.append((series, f"{count:,.0f} × {mean}, p99 ≤ {most}"))
    return folded


def _series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{inside}}}" if inside else name


def _quantity(value: float, name: str) -> str:
    return f"{value * 1e3:.1f} ms" if name.endswith("_seconds") else f"{value:,.0f}"
