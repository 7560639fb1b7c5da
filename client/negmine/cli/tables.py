"""Answers as tables for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import negmine
from negmine.cli.histogram import histogram, powers_of_two


def properties(pairs: Mapping[str, object]) -> Table:
    """Names and values, one a line."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(name, Text(shown(value)))
    return table


def grid(columns: Mapping[str, str], rows: Sequence[Sequence[object]], empty: str) -> RenderableType:
    """A table; `columns` gives each heading's justification, `empty` what is said where there are no rows."""
    if not rows:
        return Text(empty)
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, justify in columns.items():
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(shown(value)) for value in row))
    return table


def shown(value: object) -> str:
    """A value as text: thousands in groups, nothing as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return "–" if np.isnan(value) else f"{value:.4g}"
    return str(value)


def size(size_bytes: int) -> str:
    """Bytes in the unit that reads best."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:,.0f} {unit}" if unit == "B" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} TiB"


def collection_table(info: negmine.CollectionInfo) -> Table:
    """One collection."""
    mean = "none"
    if info.estimate_mean is not None:
        frozen = "done" if info.fingerprint else "pending"
        mean = f"estimated from the first {info.estimate_mean.rows:,} rows ({frozen})"
    elif info.mean is not None:
        mean = "given"
    return properties(
        {
            "collection": info.name,
            "state": info.state + (f": {info.problem}" if info.problem else ""),
            "rows": info.rows,
            "dimension": info.dimension,
            "code": f"{info.bits} bits, {info.metric}, seed {info.seed}",
            "mean": mean,
            "vectors": info.vectors,
            "shards": info.shards,
            "recall target": info.recall_target,
            "newest": f"step {info.newest.step:,} of generation {info.newest.generation}",
            "generation": info.generation,
            "encoder": info.fingerprint or "not frozen yet",
            "created": datetime.fromtimestamp(info.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        }
    )


def collections_table(infos: Sequence[negmine.CollectionInfo], aliases: Mapping[str, str]) -> RenderableType:
    """All collections, one a line, with their aliases."""
    columns = {
        "collection": "left",
        "rows": "right",
        "dim": "right",
        "bits": "right",
        "metric": "left",
        "vectors": "left",
        "step": "right",
        "state": "left",
        "aliases": "left",
    }
    rows = [
        (
            info.name,
            info.rows,
            info.dimension,
            info.bits,
            "cosine" if info.metric == "cosine" else "inner",
            info.vectors,
            info.newest.step,
            info.state,
            ", ".join(sorted(alias for alias, name in aliases.items() if name == info.name)),
        )
        for info in infos
    ]
    return grid(columns, rows, "no collections yet: negmine create NAME --dimension N makes one")


def stats_table(stats: negmine.Stats) -> RenderableType:
    """A collection with its shards, and the balance of its buckets as numbers and as a histogram."""
    columns = dict.fromkeys(
        ("shard", "rows", "dead", "deletes", "memory", "B/row", "log", "snapshot", "sequence"), "right"
    )
    rows = []
    for shard in stats.shards:
        memory = sum(shard.memory_bytes.values())
        rows.append(
            (
                shard.shard,
                shard.rows,
                shard.dead_rows,
                shard.tombstones,
                size(memory),
                round(memory / shard.rows, 1) if shard.rows else None,
                size(shard.log_bytes),
                shard.snapshot_sequence or None,
                shard.sequence,
            )
        )
    shards = grid(columns, rows, "no shards")
    return Group(collection_table(stats.collection), *_buckets(stats), Text(), shards)


def _buckets(stats: negmine.Stats) -> list[RenderableType]:
    """How rows are spread over buckets, and the recall that searches of them have."""
    rows = stats.bucket_rows
    recall = f"{stats.measured_recall:.4f}, target {shown(stats.collection.recall_target)}"
    if len(rows) == 1:
        return [properties({"buckets": "none: every search looks at all rows", "measured recall": recall})]
    balance = {
        "buckets": f"{len(rows):,}, {stats.bucket_empty_share:.0%} empty",
        "balance": f"largest / mean {stats.bucket_max_over_mean:.2f}, deviation / mean {stats.bucket_variation:.2f}, "
        f"entropy {stats.bucket_entropy:.3f}",
        "loose rows": f"{stats.loose_rows:,}, in no bucket yet",
        "measured recall": recall,
    }
    return [properties(balance), Text(), histogram(powers_of_two(rows), "rows in a bucket", "buckets")]


def server_table(info: negmine.ServerInfo, target: str) -> Table:
    """The server."""
    limits = info.limits
    families: dict[str, list[str]] = {}
    for feature in sorted(info.features):
        family, _, name = feature.partition(".")
        families.setdefault(family, []).append(name or family)
    return properties(
        {
            "server": f"{target}, version {info.version}, {info.backend} backend",
            "message": f"at most {size(limits.message_bytes_max)}",
            "mine": f"at most {limits.anchors_max:,} anchors, k {limits.k_max:,}, pool {limits.pool_max:,}, "
            f"{limits.positives_max:,} positives an anchor",
            "upsert": f"at most {limits.batch_rows_max:,} rows a batch, {limits.upsert_window} batches without an ack, "
            f"{limits.step_ahead_max:,} steps ahead",
            "collections": f"at most {limits.collections_max:,}",
            **{f"{family} features": ", ".join(names) for family, names in families.items()},
        }
    )


def items_table(ids: Sequence[int], items: negmine.Fetched) -> RenderableType:
    """Items by id."""
    columns = {
        "id": "right",
        "found": "left",
        "step": "right",
        "generation": "right",
        "group": "right",
        "tags": "right",
        "uncertainty": "right",
    } | ({"embedding": "left"} if items.embeddings is not None else {})
    rows: list[tuple[object, ...]] = []
    for place, id_ in enumerate(ids):
        if not items.found[place]:
            rows.append((str(id_), "no", *(None,) * (len(columns) - 2)))
            continue
        group = int(items.groups[place])
        rows.append(
            (
                str(id_),
                "yes",
                int(items.steps[place]),
                int(items.generations[place]),
                None if group < 0 else str(group),
                hex(int(items.tags[place])),
                float(items.uncertainties[place]),
                *([_beginning(items.embeddings[place])] if items.embeddings is not None else []),
            )
        )
    return grid(columns, rows, "no ids")


def _beginning(embedding: np.ndarray[tuple[int], np.dtype[np.float32]]) -> str:
    return " ".join(f"{value:.3f}" for value in embedding[:4]) + (" …" if len(embedding) > 4 else "")
