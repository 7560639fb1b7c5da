"""Collections on the wire: specs in, descriptions and statistics out."""

from __future__ import annotations

import numpy as np
from negmine.v1 import collection_pb2 as pb
from negmine.v1 import types_pb2

from negmine_server.balance import balance
from negmine_server.catalog import Entry, State
from negmine_server.collection import Collection
from negmine_server.domain import Metric, VectorStore, Version
from negmine_server.errors import InvalidInput
from negmine_server.rpc.states import write_version, write_watermark
from negmine_server.rpc.tensors import read_floats, write
from negmine_server.select.registry import names
from negmine_server.spec import CollectionSpec

FEATURES = (
    *(f"policy.{name}" for name in names()),
    "scoring.symmetric",
    "scoring.asymmetric",
    "scoring.float",
    "rescore.int8",
    "rescore.float16",
    "rescore.float32",
    "fill.nothing",
    "fill.random",
    "fill.relaxed",
    "protection.absolute_margin",
    "protection.relative_margin",
    "protection.percent_of_positive",
    "protection.max_score",
    "protection.min_score",
    "upsert.codes",
    "mean.given",
    "mean.estimated",
    "explain",
)
_METRICS = {
    types_pb2.METRIC_UNSPECIFIED: Metric.COSINE,
    types_pb2.METRIC_COSINE: Metric.COSINE,
    types_pb2.METRIC_INNER_PRODUCT: Metric.INNER_PRODUCT,
}
_STORES = {
    types_pb2.VECTOR_STORE_UNSPECIFIED: VectorStore.NONE,
    types_pb2.VECTOR_STORE_NONE: VectorStore.NONE,
    types_pb2.VECTOR_STORE_INT8: VectorStore.INT8,
    types_pb2.VECTOR_STORE_FLOAT16: VectorStore.FLOAT16,
    types_pb2.VECTOR_STORE_FLOAT32: VectorStore.FLOAT32,
}
_WIRE_METRICS = {metric: number for number, metric in _METRICS.items() if number}
_WIRE_STORES = {store: number for number, store in _STORES.items() if number}
_STATES = {
    State.SERVING: pb.SERVING_STATE_SERVING,
    State.DATA_LOSS: pb.SERVING_STATE_DATA_LOSS,
    State.FENCED: pb.SERVING_STATE_FENCED,
    State.LOADING: pb.SERVING_STATE_LOADING,
    State.FAILED: pb.SERVING_STATE_FAILED,
}


def read_spec(message: pb.CollectionSpec, default_shards: int, default_recall: float) -> CollectionSpec:
    """A message as a spec; `check` it before use. Raises InvalidInput for an unknown metric or store."""
    if message.metric not in _METRICS:
        raise InvalidInput(f"spec.metric is {message.metric}; this version knows no such metric", field="spec.metric")
    if message.vectors not in _STORES:
        raise InvalidInput(f"spec.vectors is {message.vectors}; this version knows no such store", field="spec.vectors")
    mean = None
    estimate_rows = 0
    if message.mean.WhichOneof("mean") == "given":
        mean = read_floats(message.mean.given, "spec.mean.given", (message.dimension,), allow_nan=False).copy()
    elif message.mean.WhichOneof("mean") == "estimate_rows":
        estimate_rows = message.mean.estimate_rows
        if estimate_rows < 1:
            raise InvalidInput("spec.mean.estimate_rows is 0; expected at least 1", field="spec.mean.estimate_rows")
    return CollectionSpec(
        dimension=message.dimension,
        bits=message.bits,
        metric=_METRICS[message.metric],
        store=_STORES[message.vectors],
        seed=message.seed,
        mean=mean,
        estimate_rows=estimate_rows,
        shards=message.shards or default_shards,
        recall_target=message.recall_target or default_recall,
    )


def write_spec(spec: CollectionSpec) -> pb.CollectionSpec:
    """A spec as a message."""
    message = pb.CollectionSpec(
        dimension=spec.dimension,
        bits=spec.bits,
        metric=_WIRE_METRICS[spec.metric],
        vectors=_WIRE_STORES[spec.store],
        seed=spec.seed,
        shards=spec.shards,
        recall_target=spec.recall_target,
    )
    if spec.estimate_rows:
        message.mean.estimate_rows = spec.estimate_rows
    elif spec.mean is not None:
        message.mean.given.CopyFrom(write(spec.mean))
    return message


def write_info(entry: Entry) -> pb.CollectionInfo:
    """A collection as it stands; without state where it is not served."""
    record, collection = entry.record, entry.collection
    info = pb.CollectionInfo(
        name=record.name,
        spec=write_spec(record.spec),
        generation=record.generation,
        state=_STATES[entry.state],
        problem=entry.reason,
        created_ms=record.created_ms,
        newest=write_version(Version(0, 0)),
    )
    if record.spec.mean is not None:
        info.mean.CopyFrom(write(record.spec.mean))
    if collection is not None:
        info.fingerprint = collection.fingerprint
        info.rows = collection.rows
        info.watermark.CopyFrom(write_watermark(collection.watermark))
        info.newest.CopyFrom(write_version(collection.newest))
    return info


def write_stats(entry: Entry, collection: Collection) -> pb.GetStatsResponse:
    """A collection's counts, sizes and balance."""
    engine = collection.engine
    shards, sizes = engine.stats(), engine.bucket_sizes()
    even = balance(np.sum(sizes, axis=0) if engine.partition is not None else np.concatenate(sizes))
    measured = collection.canary.calibration.measured
    return pb.GetStatsResponse(
        collection=write_info(entry),
        shards=[
            pb.ShardStats(
                shard=number,
                rows=shard.rows.rows,
                dead_rows=shard.rows.dead_rows,
                tombstones=shard.rows.tombstones,
                memory_bytes=shard.rows.bytes,
                log_bytes=shard.log_bytes,
                snapshot_sequence=shard.snapshot_sequence,
                sequence=shard.sequence,
                bucket_rows=buckets.tolist(),
                loose_rows=max(0, shard.rows.rows - int(buckets.sum())),
            )
            for number, (shard, buckets) in enumerate(zip(shards, sizes, strict=True))
        ],
        bucket_max_over_mean=even.max_over_mean,
        bucket_variation=even.variation,
        bucket_empty_share=even.empty_share,
        bucket_entropy=even.entropy,
        measured_recall=1.0 if measured is None else measured,
    )
