"""Fixes the encoder of a collection whose mean is estimated, once it has enough rows.

Until then its shards keep float32 vectors and are searched exhaustively. Freezing takes a snapshot of every shard,
computes the mean, writes the snapshots again in their final form (codes about the mean, the store that was asked for)
under another prefix, and swaps the collection in the catalog: a crash before that leaves the collection estimating, and
the next attempt writes the new prefix afresh.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine_server.catalog import Catalog, Entry
from negmine_server.domain import F32, Metric
from negmine_server.errors import NotReady
from negmine_server.ledger import Record
from negmine_server.spec import CollectionSpec
from negmine_server.storage.log import begin_log
from negmine_server.storage.objects import Objects, delete_all
from negmine_server.storage.snapshots import Snapshot, latest_snapshot, write_snapshot
from negmine_server.vectors import stored

LOG = logging.getLogger(__name__)


def due(entry: Entry) -> bool:
    """Whether a collection has the rows that its mean is estimated from."""
    collection, spec = entry.collection, entry.record.spec
    return collection is not None and spec.estimating and collection.rows >= spec.estimate_rows


def freeze(entry: Entry, catalog: Catalog, objects: Objects) -> None:
    """Fixes the encoder. Upserts are refused with a retry meanwhile; searches go on. Blocks.

    Raises what storage raises; the collection then stays as it was.
    """
    collection = entry.collection
    if collection is None or not due(entry) or not collection.gate.shut():
        return
    try:
        collection.engine.snapshot()
        old = entry.record
        mean = _mean(old, objects)
        spec = old.spec.with_mean(mean)
        new = Record(old.name, old.incarnation, spec, old.generation, old.created_ms)
        delete_all(objects, new.prefix)
        for shard in range(spec.shards):
            snapshot = _snapshot(old, shard, objects)
            prefix = new.shard_prefix(shard)
            begin_log(objects, prefix, snapshot.sequence)  # sequences go on, so that watermarks stay good
            write_snapshot(objects, prefix, snapshot.sequence, _rewritten(snapshot, spec), snapshot.meta)
        catalog.swap(entry, spec)
    except BaseException:
        collection.gate.open()
        catalog.sweep(entry)
        raise
    # The gate stays shut: a write that still holds the old collection is asked to come back, and finds the new one.
    collection.close()
    delete_all(objects, old.prefix)
    LOG.info("collection %s: encoder frozen about the mean of its rows, length %.3g", old.name, np.linalg.norm(mean))


def _snapshot(record: Record, shard: int, objects: Objects) -> Snapshot:
    snapshot = latest_snapshot(objects, record.shard_prefix(shard))
    if snapshot is None:
        raise NotReady(f"shard {shard} of {record.name!r} has no snapshot to freeze from")
    return snapshot


def _mean(record: Record, objects: Objects) -> F32:
    """The mean [d] of the vectors as they are compared."""
    total = np.zeros(record.spec.dimension, np.float64)
    rows = 0
    for shard in range(record.spec.shards):
        parts = iter(_snapshot(record, shard, objects).parts())
        next(parts)  # the tombstones
        for part in parts:
            total += part["vectors"].sum(axis=0, dtype=np.float64)
            rows += len(part["ids"])
    return (total / max(rows, 1)).astype(np.float32)


def _rewritten(snapshot: Snapshot, spec: CollectionSpec) -> Iterator[dict[str, NDArray[Any]]]:
    """The parts of a snapshot as the frozen collection keeps them."""
    encoder = spec.encoder()
    parts = iter(snapshot.parts())
    yield next(parts)
    for part in parts:
        rest = {name: array for name, array in part.items() if name not in ("vectors", "scales")}
        codes = encoder.encode(part["vectors"])
        rest |= {"codes": codes.words, "corrections": codes.corrections}
        if spec.metric is Metric.INNER_PRODUCT:
            rest["norms"] = codes.norms
        kept, scales = stored(part["vectors"], spec.store)
        if kept is not None:
            rest["vectors"] = kept
        if scales is not None:
            rest["scales"] = scales
        yield rest
