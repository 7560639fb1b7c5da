"""A Mine request → anchors and options; everything that can be wrong with one is found here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from negmine.v1 import mining_pb2 as pb
from negmine.v1 import types_pb2

from negmine_server.collection import Collection
from negmine_server.domain import F32, I64, NO_GROUP, NO_ID, STEP_MAX, U64, Fill, Metric, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.options import MineOptions
from negmine_server.rpc.tensors import read, read_embeddings, read_floats, read_ids, read_lengths
from negmine_server.select.policy import Policy
from negmine_server.select.protection import Protection
from negmine_server.select.registry import read_policy

_FILLS = {
    pb.FILL_UNSPECIFIED: Fill.NOTHING,
    pb.FILL_NOTHING: Fill.NOTHING,
    pb.FILL_RANDOM: Fill.RANDOM,
    pb.FILL_RELAXED: Fill.RELAXED,
}


@dataclass(frozen=True, slots=True)
class MineLimits:
    """Bounds of a Mine."""

    anchors_max: int
    k_max: int
    pool_max: int
    max_scanned: int
    positives_max: int


@dataclass(frozen=True, slots=True, eq=False)
class MineCall:
    """A Mine request, read."""

    anchors: Anchors
    options: MineOptions
    with_vectors: bool
    with_versions: bool
    with_weights: bool


def read_mine(request: pb.MineRequest, collection: Collection, limits: MineLimits) -> MineCall:
    """Reads a request against the collection it names.

    Raises:
        InvalidInput, TooLarge: naming field, value and index.
        FingerprintMismatch: anchors coded by another encoder.
        Unimplemented: a field or policy that this version does not serve.
    """
    if request.fill not in _FILLS:
        raise InvalidInput(f"fill is {request.fill}; this version knows no such fill", field="fill")
    _check_range("k", request.k, 1, limits.k_max)
    anchors = _read_anchors(request, collection, limits)
    rows = anchors.rows
    scoring = _scoring(request, collection)
    store = collection.spec.kept_store
    rescore = request.rescore if request.HasField("rescore") else store is not VectorStore.NONE
    if request.rescore and anchors.embeddings is None:
        raise InvalidInput("rescore needs the anchors' embeddings; received codes", field="rescore")
    rescore = rescore and anchors.embeddings is not None and scoring is not Scoring.FLOAT
    if (rescore or request.return_embeddings) and store is VectorStore.NONE:
        field = "rescore" if rescore else "return_embeddings"
        raise InvalidInput(f"{field} needs stored vectors; {collection.name!r} keeps none", field=field)
    protection = _protection(request)
    offsets, positives = _positives(request, rows, limits)
    options = MineOptions(
        k=request.k,
        own_ids=_per_anchor(request, "own_ids", rows, NO_ID),
        positive_offsets=offsets,
        positive_ids=positives,
        groups=_groups(request, rows, collection),
        positive_scores=_positive_scores(request, rows),
        require_tags=_tags(request, "require_tags", rows),
        forbid_tags=_tags(request, "forbid_tags", rows),
        min_steps=np.full(rows, _min_step(request, collection), np.int64),
        seeds=np.full(rows, request.seed, np.uint64),
        protection=protection,
        policy=_policy(request, collection, limits),
        scoring=scoring,
        rescore=rescore,
        recall_target=_recall_target(request, collection),
        pool=_bounded("pool", request.pool, limits.pool_max),
        pool_max=limits.pool_max,
        max_scanned=_bounded("max_scanned", request.max_scanned, limits.max_scanned) or limits.max_scanned,
        fill=_FILLS[request.fill],
    )
    weights = request.return_weights or options.policy.width(options.k) != options.k
    return MineCall(anchors, options, request.return_embeddings, request.return_versions, weights)


def _read_anchors(request: pb.MineRequest, collection: Collection, limits: MineLimits) -> Anchors:
    kind = request.WhichOneof("anchors")
    if kind is None:
        raise InvalidInput("no anchors; expected embeddings or codes", field="anchors")
    tensor = request.embeddings if kind == "embeddings" else request.codes.codes
    rows = tensor.shape[0] if tensor.shape else 0
    if rows > limits.anchors_max:
        raise TooLarge(f"{rows} anchors; this server takes up to {limits.anchors_max} in one Mine", field=kind)
    if kind == "embeddings":
        return Anchors(read_embeddings(tensor, "embeddings", collection.spec.dimension)[0], None, None)
    collection.check_fingerprint(request.codes.fingerprint)
    codes = read(tensor, "codes.codes", (types_pb2.DATA_TYPE_UINT64,), (None, collection.encoder.words))
    norms = None
    if request.codes.HasField("norms") and collection.spec.metric is Metric.INNER_PRODUCT:
        norms = read_lengths(request.codes.norms, "codes.norms", len(codes))
    return Anchors(None, codes, norms)


def _scoring(request: pb.MineRequest, collection: Collection) -> Scoring:
    coded = request.WhichOneof("anchors") == "codes"
    if request.scoring not in types_pb2.Scoring.values():
        raise InvalidInput(f"scoring is {request.scoring}; this version knows no such scoring", field="scoring")
    scoring = {
        types_pb2.SCORING_UNSPECIFIED: Scoring.SYMMETRIC if coded else Scoring.ASYMMETRIC,
        types_pb2.SCORING_SYMMETRIC: Scoring.SYMMETRIC,
        types_pb2.SCORING_ASYMMETRIC: Scoring.ASYMMETRIC,
        types_pb2.SCORING_FLOAT: Scoring.FLOAT,
    }[request.scoring]
    if coded and scoring is not Scoring.SYMMETRIC:
        raise InvalidInput(f"codes are scored symmetrically; received scoring {scoring.value}", field="scoring")
    if collection.spec.estimating:
        return Scoring.FLOAT  # there are no final codes yet: every row is scored exactly
    if scoring is Scoring.FLOAT and collection.spec.kept_store is VectorStore.NONE:
        raise InvalidInput(f"scoring float needs stored vectors; {collection.name!r} keeps none", field="scoring")
    return scoring


def _recall_target(request: pb.MineRequest, collection: Collection) -> float:
    if request.exact:
        return 1.0
    if request.WhichOneof("accuracy") != "recall_target":
        return collection.spec.recall_target
    if not 0 < request.recall_target <= 1:
        raise InvalidInput(
            f"recall_target is {request.recall_target}; expected a value in (0, 1]", field="recall_target"
        )
    return request.recall_target


def _protection(request: pb.MineRequest) -> Protection:
    if not request.HasField("protection"):
        return Protection()
    given = request.protection
    values: dict[str, float | None] = {
        item.name: getattr(given, item.name) if given.HasField(item.name) else None for item in given.DESCRIPTOR.fields
    }
    protection = Protection(**values)
    protection.check()
    return protection


def _policy(request: pb.MineRequest, collection: Collection, limits: MineLimits) -> Policy:
    policy = read_policy(request.policy)
    policy.check(request.k, limits.pool_max)
    if policy.cosine_only and collection.spec.metric is not Metric.COSINE:
        raise InvalidInput(
            f"policy {policy.name!r} is defined on distances between unit vectors; {collection.name!r} has metric "
            f"{collection.spec.metric.value}",
            field="policy",
        )
    return policy


def _per_anchor(request: pb.MineRequest, field: str, rows: int, none: int) -> I64:
    if not request.HasField(field):
        return np.full(rows, none, np.int64)
    return read_ids(getattr(request, field), field, rows, lowest=none)


def _groups(request: pb.MineRequest, rows: int, collection: Collection) -> I64:
    groups = _per_anchor(request, "groups", rows, NO_GROUP)
    wanted = request.exclude_same_group if request.HasField("exclude_same_group") else True
    if not wanted:
        return np.full(rows, NO_GROUP, np.int64)
    if (groups != NO_GROUP).any() and not collection.engine.has("groups") and collection.rows:
        raise InvalidInput(
            f"groups are given, and none of the {collection.rows} items of {collection.name!r} has one: nothing would "
            "be excluded; upsert groups, or set exclude_same_group to false",
            field="groups",
            reason="ITEMS_WITHOUT_GROUPS",
        )
    return groups


def _tags(request: pb.MineRequest, field: str, rows: int) -> U64:
    if not request.HasField(field):
        return np.zeros(rows, np.uint64)
    tags = read(getattr(request, field), field, (types_pb2.DATA_TYPE_UINT64,), (None,))
    if len(tags) not in (1, rows):
        raise InvalidInput(f"{field} has {len(tags)} values; expected 1 or {rows}", field=field, reason="WRONG_SHAPE")
    return np.ascontiguousarray(np.broadcast_to(tags, rows))


def _positive_scores(request: pb.MineRequest, rows: int) -> F32:
    if not request.HasField("positive_scores"):
        return np.full(rows, np.nan, np.float32)
    return read_floats(request.positive_scores, "positive_scores", (rows,), allow_nan=True)


def _positives(request: pb.MineRequest, rows: int, limits: MineLimits) -> tuple[I64, I64]:
    """Offsets [B + 1] and ids, sorted within each anchor."""
    if not request.HasField("positives"):
        return np.zeros(rows + 1, np.int64), np.empty(0, np.int64)
    ids = read_ids(request.positives.values, "positives.values", None)
    offsets = read(request.positives.offsets, "positives.offsets", (types_pb2.DATA_TYPE_INT64,), (rows + 1,))
    counts = np.diff(offsets)
    if offsets[0] != 0 or offsets[-1] != len(ids) or (counts < 0).any():
        wrong = int(np.flatnonzero(counts < 0)[0]) + 1 if (counts < 0).any() else (0 if offsets[0] else rows)
        raise InvalidInput(
            f"positives.offsets[{wrong}] is {offsets[wrong]}; expected offsets that rise from 0 to {len(ids)}, the "
            "number of values",
            field="positives.offsets",
            reason="BAD_OFFSETS",
        )
    if counts.max(initial=0) > limits.positives_max:
        raise TooLarge(
            f"anchor {counts.argmax()} has {counts.max()} positives; this server takes up to {limits.positives_max}",
            field="positives",
        )
    order = np.lexsort((ids, np.repeat(np.arange(rows), counts)))
    return np.ascontiguousarray(offsets), ids[order]


def _min_step(request: pb.MineRequest, collection: Collection) -> int:
    kind = request.WhichOneof("freshness")
    if kind == "min_step":
        return min(request.min_step, STEP_MAX)
    if kind == "max_staleness_steps":
        return max(0, collection.newest.step - request.max_staleness_steps)
    return 0


def _bounded(field: str, value: int, most: int) -> int:
    if value > most:
        raise TooLarge(f"{field} is {value}; this server takes up to {most}", field=field)
    return value


def _check_range(field: str, value: int, low: int, high: int) -> None:
    if value < low:
        raise InvalidInput(f"{field} is {value}; expected {low} to {high}", field=field)
    if value > high:
        raise TooLarge(f"{field} is {value}; this server takes up to {high}", field=field)
