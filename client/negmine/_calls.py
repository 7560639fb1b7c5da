"""Every unary call but Mine, as a value: which method, which request, how the reply is read. Does no I/O itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from negmine import _arrays, _replies
from negmine._encoding import Codes, Encoder
from negmine._exceptions import FingerprintMismatch, InvalidInput, NotReady
from negmine._models import CollectionInfo, EstimateMean, Limits, ServerInfo, Stats
from negmine._replies import METRICS, VECTOR_STORES
from negmine._results import DeleteResult, Fetched, Snapshot, Watermark
from negmine._scalars import choice, share, unsigned
from negmine.encoder import DIMENSION_MAX
from negmine.v1 import collection_pb2, index_pb2, types_pb2

R = TypeVar("R")
Service: TypeAlias = Literal["collections", "index", "mining"]

_FETCH_OVERHEAD = 1 + 8 + 8 + 8 + 8 + 4 + 8  # bytes of an item beside its codes and vectors


@dataclass(frozen=True, slots=True, eq=False)
class Call(Generic[R]):
    """One unary call."""

    service: Service
    method: str
    request: Any
    parse: Callable[[Any], R]


def create_collection(
    name: str,
    dimension: int,
    bits: int,
    metric: str,
    vectors: str,
    seed: int,
    mean: Any | EstimateMean | None,
    shards: int,
    recall_target: float | None,
    *,
    exist_ok: bool,
) -> Call[CollectionInfo]:
    spec = collection_pb2.CollectionSpec(
        dimension=unsigned(dimension, "dimension"),
        bits=unsigned(bits, "bits"),
        metric=choice(metric, METRICS, "metric"),  # type: ignore[arg-type]
        vectors=choice(vectors, VECTOR_STORES, "vectors"),  # type: ignore[arg-type]
        seed=unsigned(seed, "seed", bits=64),
        shards=unsigned(shards, "shards"),
        recall_target=0.0 if recall_target is None else share(recall_target, "recall_target"),
    )
    if isinstance(mean, EstimateMean):
        spec.mean.estimate_rows = unsigned(mean.rows, "mean.rows")
    elif mean is not None:
        spec.mean.given.CopyFrom(_arrays.tensor(_arrays.to_floats(mean, "mean", dimension)))
    request = collection_pb2.CreateCollectionRequest(name=name, spec=spec, exist_ok=exist_ok)
    return Call("collections", "CreateCollection", request, lambda reply: _replies.collection(reply.collection))


def get_collection(name: str) -> Call[CollectionInfo]:
    request = collection_pb2.GetCollectionRequest(collection=name)
    return Call("collections", "GetCollection", request, lambda reply: _replies.collection(reply.collection))


def list_collections() -> Call[list[CollectionInfo]]:
    request = collection_pb2.ListCollectionsRequest()
    return Call(
        "collections", "ListCollections", request, lambda reply: [_replies.collection(c) for c in reply.collections]
    )


def list_aliases() -> Call[dict[str, str]]:
    request = collection_pb2.ListCollectionsRequest()
    return Call("collections", "ListCollections", request, lambda reply: {a.name: a.collection for a in reply.aliases})


def drop_collection(name: str) -> Call[None]:
    return Call("collections", "DropCollection", collection_pb2.DropCollectionRequest(collection=name), _nothing)


def set_alias(alias: str, collection: str) -> Call[str | None]:
    request = collection_pb2.SetAliasRequest(alias=alias, collection=collection)
    return Call("collections", "SetAlias", request, lambda reply: reply.previous or None)


def drop_alias(alias: str) -> Call[None]:
    return Call("collections", "DropAlias", collection_pb2.DropAliasRequest(alias=alias), _nothing)


def snapshot(name: str) -> Call[Snapshot]:
    request = collection_pb2.CreateSnapshotRequest(collection=name)
    return Call("collections", "CreateSnapshot", request, _replies.snapshot)


def stats(name: str) -> Call[Stats]:
    return Call("collections", "GetStats", collection_pb2.GetStatsRequest(collection=name), _replies.stats)


def start_generation(name: str, generation: int | None) -> Call[int]:
    request = collection_pb2.StartGenerationRequest(collection=name)
    if generation is not None:
        request.generation = unsigned(generation, "generation")
    return Call("collections", "StartGeneration", request, lambda reply: int(reply.generation))


def server_info() -> Call[ServerInfo]:
    return Call("collections", "GetServerInfo", collection_pb2.GetServerInfoRequest(), _replies.server_info)


def delete(name: str, ids: Any, step: int | None, generation: int | None, limits: Limits) -> list[Call[DeleteResult]]:
    """Calls that delete the ids, each within the server's limit of ids."""
    if step is None and generation is not None:
        raise InvalidInput(f"generation is {generation} without a step; expected both", field="generation")
    version = None if step is None else version_of(step, generation)
    return [
        Call(
            "index",
            "Delete",
            index_pb2.DeleteRequest(collection=name, ids=_arrays.tensor(part), version=version),
            _replies.delete,
        )
        for part in _parts(_arrays.to_ids(ids, "ids"), limits.batch_rows_max)
    ]


def fetch(
    name: str, ids: Any, codes: bool, embeddings: bool, min_watermark: Watermark | None, limits: Limits
) -> list[Call[Fetched]]:
    """Calls that read the ids, each within the server's limits of ids and of a message."""
    row_bytes = _FETCH_OVERHEAD + codes * 512 + embeddings * 4 * DIMENSION_MAX
    rows = limits.message_bytes_max // 2 // row_bytes
    if limits.batch_rows_max:
        rows = min(rows, limits.batch_rows_max)
    return [
        Call(
            "index",
            "Fetch",
            index_pb2.FetchRequest(
                collection=name,
                ids=_arrays.tensor(part),
                return_codes=codes,
                return_embeddings=embeddings,
                min_watermark=watermark(min_watermark),
            ),
            _replies.fetched,
        )
        for part in _parts(_arrays.to_ids(ids, "ids"), rows)
    ]


def join_deletes(parts: Sequence[DeleteResult]) -> DeleteResult:
    mark = parts[0].watermark
    for part in parts[1:]:
        mark = mark.merge(part.watermark)
    return DeleteResult(sum(part.deleted for part in parts), sum(part.stale for part in parts), mark)


def join_fetches(parts: Sequence[Fetched]) -> Fetched:
    if len(parts) == 1:
        return parts[0]
    mark = parts[0].watermark
    for part in parts[1:]:
        mark = mark.floor(part.watermark)
    codes = [part.codes for part in parts if part.codes is not None]
    embeddings = [part.embeddings for part in parts if part.embeddings is not None]
    return Fetched(
        found=np.concatenate([part.found for part in parts]),
        steps=np.concatenate([part.steps for part in parts]),
        generations=np.concatenate([part.generations for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        tags=np.concatenate([part.tags for part in parts]),
        uncertainties=np.concatenate([part.uncertainties for part in parts]),
        watermark=mark,
        embeddings=np.concatenate(embeddings) if embeddings else None,
        codes=Codes(
            np.concatenate([part.words for part in codes]),
            np.concatenate([part.corrections for part in codes]),
            np.concatenate([part.norms for part in codes]),
            codes[0].fingerprint,
        )
        if codes
        else None,
    )


def encoder(info: CollectionInfo) -> Encoder:
    """The encoder that a collection's description names."""
    if not info.fingerprint:
        raise NotReady(
            f"the encoder of {info.name!r} is not frozen: it estimates its mean from the first rows "
            f"and has {info.rows}",
            reason="ENCODER_NOT_FROZEN",
        )
    made = Encoder(info.dimension, info.bits, seed=info.seed, mean=info.mean, cosine=info.metric == "cosine")
    if made.fingerprint != info.fingerprint:
        raise FingerprintMismatch(
            f"the encoder of {info.name!r} has fingerprint {info.fingerprint}, and this SDK makes {made.fingerprint}: "
            "use the server's version of negmine"
        )
    return made


def version_of(step: int, generation: int | None) -> types_pb2.Version:
    version = types_pb2.Version(step=unsigned(step, "step", bits=64))
    if generation is not None:
        version.generation = unsigned(generation, "generation")
    return version


def watermark(mark: Watermark | None) -> types_pb2.Watermark | None:
    if mark is None:
        return None
    return types_pb2.Watermark(incarnation=mark.incarnation, epoch=mark.epoch, sequences=mark.sequences)


def _parts(ids: _arrays.I64, rows: int) -> list[_arrays.I64]:
    rows = rows or max(1, len(ids))
    return [ids[first : first + rows] for first in range(0, max(1, len(ids)), rows)]


def _nothing(_reply: Any) -> None:
    return None
