"""Replies of the server as the SDK's values."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from negmine._arrays import array
from negmine._encoding import Codes
from negmine._exceptions import Internal
from negmine._models import CollectionInfo, EstimateMean, Limits, ServerInfo, Stats
from negmine._results import (
    DeleteResult,
    Fetched,
    Negatives,
    Outcome,
    ShardStats,
    Snapshot,
    UpsertResult,
    Version,
    Watermark,
)
from negmine.v1 import collection_pb2, index_pb2, mining_pb2, types_pb2

METRICS: Final[dict[str, int]] = {
    "cosine": types_pb2.METRIC_COSINE,
    "inner_product": types_pb2.METRIC_INNER_PRODUCT,
}
VECTOR_STORES: Final[dict[str, int]] = {
    "none": types_pb2.VECTOR_STORE_NONE,
    "int8": types_pb2.VECTOR_STORE_INT8,
    "float16": types_pb2.VECTOR_STORE_FLOAT16,
    "float32": types_pb2.VECTOR_STORE_FLOAT32,
}
STATES: Final[dict[str, int]] = {
    "serving": collection_pb2.SERVING_STATE_SERVING,
    "data_loss": collection_pb2.SERVING_STATE_DATA_LOSS,
    "fenced": collection_pb2.SERVING_STATE_FENCED,
    "loading": collection_pb2.SERVING_STATE_LOADING,
    "failed": collection_pb2.SERVING_STATE_FAILED,
}
OUTCOMES: Final[dict[int, Outcome]] = {
    mining_pb2.OUTCOME_FULL: Outcome.FULL,
    mining_pb2.OUTCOME_EXHAUSTED: Outcome.EXHAUSTED,
    mining_pb2.OUTCOME_BUDGET: Outcome.BUDGET,
    mining_pb2.OUTCOME_NO_POSITIVE_SCORE: Outcome.NO_POSITIVE_SCORE,
}
_DROPS: Final[dict[int, str]] = {
    mining_pb2.DROP_REASON_OWN_ID: "own_id",
    mining_pb2.DROP_REASON_POSITIVE: "positive",
    mining_pb2.DROP_REASON_MARGIN: "margin",
    mining_pb2.DROP_REASON_MAX_SCORE: "max_score",
    mining_pb2.DROP_REASON_MIN_SCORE: "min_score",
    mining_pb2.DROP_REASON_WINDOW: "window",
}
# Arrays of `Negatives` with their types; those after the third may be absent.
ARRAYS: Final[dict[str, str]] = {
    "ids": "int64",
    "scores": "float32",
    "counts": "int32",
    "standard_errors": "float32",
    "positive_scores": "float32",
    "steps": "int64",
    "generations": "int64",
    "embeddings": "float32",
    "weights": "float32",
    "fills": "int32",
}


def named(value: int, choices: dict[str, int], field: str) -> Any:
    """The name of a number of the wire."""
    for name, number in choices.items():
        if number == value:
            return name
    raise Internal(f"the server sent {field} {value}, which this SDK does not know; a newer SDK may")


def watermark(message: types_pb2.Watermark) -> Watermark:
    return Watermark(message.incarnation, message.epoch, tuple(message.sequences))


def version(message: types_pb2.Version) -> Version:
    return Version(message.generation, message.step)


def collection(message: collection_pb2.CollectionInfo) -> CollectionInfo:
    spec = message.spec
    estimates = spec.mean.WhichOneof("mean") == "estimate_rows"
    return CollectionInfo(
        name=message.name,
        dimension=spec.dimension,
        bits=spec.bits,
        metric=named(spec.metric, METRICS, "metric"),
        vectors=named(spec.vectors, VECTOR_STORES, "vectors"),
        seed=spec.seed,
        mean=array(message.mean, "float32") if message.HasField("mean") else None,
        estimate_mean=EstimateMean(spec.mean.estimate_rows) if estimates else None,
        shards=spec.shards,
        recall_target=spec.recall_target,
        fingerprint=message.fingerprint,
        watermark=watermark(message.watermark),
        newest=version(message.newest),
        generation=message.generation,
        rows=message.rows,
        state=named(message.state, STATES, "state"),
        problem=message.problem,
        created_ms=message.created_ms,
    )


def snapshot(message: collection_pb2.CreateSnapshotResponse) -> Snapshot:
    return Snapshot(watermark(message.watermark), message.size_bytes, message.rows, message.trimmed)


def stats(message: collection_pb2.GetStatsResponse) -> Stats:
    return Stats(
        collection=collection(message.collection),
        loose_rows=sum(shard.loose_rows for shard in message.shards),
        shards=tuple(
            ShardStats(
                shard=shard.shard,
                rows=shard.rows,
                loose_rows=shard.loose_rows,
                dead_rows=shard.dead_rows,
                tombstones=shard.tombstones,
                memory_bytes=dict(shard.memory_bytes),
                log_bytes=shard.log_bytes,
                snapshot_sequence=shard.snapshot_sequence,
                sequence=shard.sequence,
                bucket_rows=tuple(shard.bucket_rows),
            )
            for shard in message.shards
        ),
        bucket_max_over_mean=message.bucket_max_over_mean,
        bucket_variation=message.bucket_variation,
        bucket_empty_share=message.bucket_empty_share,
        bucket_entropy=message.bucket_entropy,
        measured_recall=message.measured_recall,
    )


def server_info(message: collection_pb2.GetServerInfoResponse) -> ServerInfo:
    limits = message.limits
    return ServerInfo(
        version=message.version,
        limits=Limits(
            message_bytes_max=limits.message_bytes_max,
            anchors_max=limits.anchors_max,
            k_max=limits.k_max,
            pool_max=limits.pool_max,
            batch_rows_max=limits.batch_rows_max,
            upsert_window=limits.upsert_window,
            collections_max=limits.collections_max,
            step_ahead_max=limits.step_ahead_max,
            positives_max=limits.positives_max,
        ),
        features=frozenset(message.features),
        backend=message.backend,
    )


def delete(message: index_pb2.DeleteResponse) -> DeleteResult:
    return DeleteResult(message.deleted, message.stale, watermark(message.watermark))


def fetched(message: index_pb2.FetchResponse) -> Fetched:
    return Fetched(
        found=array(message.found, "uint8").astype(np.bool_),
        steps=array(message.steps, "int64"),
        generations=array(message.generations, "int64"),
        groups=array(message.groups, "int64"),
        tags=array(message.tags, "uint64"),
        uncertainties=array(message.uncertainties, "float32"),
        watermark=watermark(message.watermark),
        embeddings=array(message.embeddings, "float32") if message.HasField("embeddings") else None,
        codes=_codes(message.codes) if message.HasField("codes") else None,
    )


def negatives(message: mining_pb2.MineResponse) -> Negatives:
    arrays = {
        name: array(getattr(message, name), dtype) if message.HasField(name) else None for name, dtype in ARRAYS.items()
    }
    if arrays["ids"] is None or arrays["scores"] is None or arrays["counts"] is None:
        raise Internal("the server answered without ids, scores or counts")
    return Negatives(
        **arrays,
        outcomes=tuple(_outcome(value) for value in message.outcomes),
        exact_scores=message.exact_scores,
        drops={_DROPS.get(drop.reason, f"reason_{drop.reason}"): drop.count for drop in message.drops},
        missing_positives=tuple((missing.anchor, missing.id) for missing in message.missing_positives),
        timings_ms={timing.stage: timing.duration_ms for timing in message.timings},
        watermark=watermark(message.watermark),
        newest=version(message.newest),
        rows_scanned=message.rows_scanned,
        collection=message.collection,
        ungrouped=message.ungrouped_negatives,
    )


def _outcome(value: int) -> Outcome:
    if value not in OUTCOMES:
        raise Internal(f"the server sent outcome {value}, which this SDK does not know; a newer SDK may")
    return OUTCOMES[value]


def ack(message: index_pb2.UpsertAck, rows: int) -> UpsertResult:
    """What a full ack says of a batch of `rows` rows: those not counted now had been applied by an earlier try."""
    return UpsertResult(
        inserted=message.inserted,
        overwritten=message.overwritten,
        stale=message.stale,
        duplicate=rows - message.inserted - message.overwritten - message.stale,
        watermark=watermark(message.watermark),
    )


def _codes(message: types_pb2.Codes) -> Codes:
    words = array(message.codes, "uint64")
    ones = np.ones(len(words), np.float32)
    return Codes(
        words,
        array(message.corrections, "float32") if message.HasField("corrections") else ones,
        array(message.norms, "float32") if message.HasField("norms") else ones,
        message.fingerprint,
    )
