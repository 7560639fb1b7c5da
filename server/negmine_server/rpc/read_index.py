"""Upsert batches → items; found items → a Fetch reply."""

from __future__ import annotations

from typing import Any

import numpy as np
from negmine.encoder import Codes
from negmine.v1 import index_pb2 as pb
from negmine.v1 import types_pb2
from numpy.typing import NDArray

from negmine_server.collection import Collection
from negmine_server.domain import NO_GROUP, STEP_BITS, STEP_MAX, Metric, VectorStore
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.items import Fetched, Items
from negmine_server.rpc.states import write_watermark
from negmine_server.rpc.tensors import (
    read,
    read_embeddings,
    read_floats,
    read_ids,
    read_lengths,
    read_unique_ids,
    write,
)

NUMBER_MAX = (1 << 63) - 1


def read_items(batch: pb.UpsertBatch, collection: Collection, writer: str, rows_max: int) -> Items:
    """One batch against the collection it goes to.

    Raises:
        InvalidInput, TooLarge: naming field, value and index.
    """
    _check_number(batch.number, writer)
    check_rows(batch.ids, "batch.ids", rows_max)
    ids = read_unique_ids(batch.ids, "batch.ids")
    rows = len(ids)
    kind = batch.WhichOneof("items")
    embeddings = lengths = codes = None
    if kind == "embeddings":
        embeddings, lengths = read_embeddings(batch.embeddings, "batch.embeddings", collection.spec.dimension)
        _check_count(embeddings, "batch.embeddings", rows)
    elif kind == "codes":
        codes = _read_codes(batch.codes, collection, rows)
    else:
        raise InvalidInput("no items; expected embeddings or codes", field="batch.items")
    return Items(
        ids=ids,
        embeddings=embeddings,
        lengths=lengths,
        codes=codes,
        fingerprint=batch.codes.fingerprint,
        groups=read_ids(batch.groups, "batch.groups", rows, lowest=NO_GROUP) if batch.HasField("groups") else None,
        tags=read(batch.tags, "batch.tags", (types_pb2.DATA_TYPE_UINT64,), (rows,)) if batch.HasField("tags") else None,
        uncertainties=read_floats(batch.uncertainties, "batch.uncertainties", (rows,), allow_nan=True)
        if batch.HasField("uncertainties")
        else None,
        generation=batch.version.generation if batch.version.HasField("generation") else None,
        step=batch.version.step,
        writer=writer,
        number=batch.number,
    )


def check_rows(ids: types_pb2.Tensor, field: str, rows_max: int) -> None:
    """Raises TooLarge beyond the server's bound, before anything is copied."""
    rows = ids.shape[0] if ids.shape else 0
    if rows > rows_max:
        raise TooLarge(f"{field} holds {rows} ids; this server takes up to {rows_max} at once", field=field)


def _check_number(number: int, writer: str) -> None:
    if writer and not 1 <= number <= NUMBER_MAX:
        raise InvalidInput(f"batch.number is {number}; a writer numbers its batches from 1", field="batch.number")
    if number and not writer:
        raise InvalidInput(f"batch.number is {number} without a writer id; expected 0", field="batch.number")


def _check_count(array: NDArray[Any], field: str, rows: int) -> None:
    if len(array) != rows:
        raise InvalidInput(f"{field} holds {len(array)} rows and batch.ids {rows}", field=field, reason="WRONG_SHAPE")


def _read_codes(message: types_pb2.Codes, collection: Collection, rows: int) -> Codes:
    collection.check_fingerprint(message.fingerprint)
    words = read(message.codes, "codes.codes", (types_pb2.DATA_TYPE_UINT64,), (rows, collection.encoder.words))
    if not message.HasField("corrections"):
        raise InvalidInput("codes.corrections is not set; an upsert of codes needs it", field="codes.corrections")
    corrections = read_lengths(message.corrections, "codes.corrections", rows, zero=True)
    norms = np.ones(rows, np.float32)
    if collection.spec.metric is Metric.INNER_PRODUCT:
        if not message.HasField("norms"):
            raise InvalidInput("codes.norms is not set; inner product needs it", field="codes.norms")
        norms = read_lengths(message.norms, "codes.norms", rows)
    return Codes(words, corrections, norms)


def write_fetch(fetched: Fetched, request: pb.FetchRequest, collection: Collection) -> pb.FetchResponse:
    """The reply to one Fetch."""
    found, columns = fetched.found, fetched.columns

    def spread(values: NDArray[Any] | None, fill: float, dtype: Any) -> NDArray[Any]:
        """Values of the found items at their places, `fill` elsewhere."""
        shape = (len(found),) if values is None else (len(found), *values.shape[1:])
        array = np.full(shape, fill, dtype)
        if values is not None:
            array[found] = values
        return array

    versions = columns.get("versions")
    response = pb.FetchResponse(
        found=write(found.astype(np.uint8)),
        steps=write(spread(None if versions is None else versions & STEP_MAX, 0, np.int64)),
        generations=write(spread(None if versions is None else versions >> STEP_BITS, 0, np.int64)),
        groups=write(spread(columns.get("groups"), NO_GROUP, np.int64)),
        tags=write(spread(columns.get("tags"), 0, np.uint64)),
        uncertainties=write(spread(columns.get("uncertainties"), np.nan, np.float32)),
        watermark=write_watermark(fetched.watermark),
    )
    if request.return_embeddings:
        assert fetched.vectors is not None
        vectors = np.zeros((len(found), collection.spec.dimension), np.float32)
        vectors[found] = fetched.vectors
        response.embeddings.CopyFrom(write(vectors))
    if request.return_codes:
        words = np.zeros((len(found), collection.encoder.words), np.uint64)
        if found.any():
            words[found] = columns["codes"]
        response.codes.fingerprint = collection.fingerprint
        response.codes.codes.CopyFrom(write(words))
        response.codes.corrections.CopyFrom(write(spread(columns.get("corrections"), 0, np.float32)))
        if collection.spec.metric is Metric.INNER_PRODUCT:
            response.codes.norms.CopyFrom(write(spread(columns.get("norms"), 0, np.float32)))
    return response


def check_fetch(request: pb.FetchRequest, collection: Collection) -> None:
    """Raises InvalidInput where vectors are asked of a collection that keeps none."""
    if request.return_embeddings and collection.spec.kept_store is VectorStore.NONE:
        raise InvalidInput(
            f"return_embeddings needs stored vectors; {collection.name!r} keeps none", field="return_embeddings"
        )
