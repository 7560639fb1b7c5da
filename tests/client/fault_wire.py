"""How the misbehaving server reads and writes the wire: on its own, so that it checks what the client does."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from negmine.v1 import mining_pb2, types_pb2

NUMPY = {1: "<f4", 2: "<f2", 3: "<u2", 4: "i1", 5: "<i4", 6: "<i8", 7: "u1", 8: "<u8"}
WIRE = {"float32": 1, "float16": 2, "int8": 4, "int32": 5, "int64": 6, "uint8": 7, "uint64": 8}


def read(tensor: types_pb2.Tensor) -> np.ndarray:
    """The server's own reading of a tensor, independent of the client's."""
    held = np.frombuffer(tensor.data, NUMPY[tensor.dtype]).reshape(tuple(tensor.shape))
    if tensor.dtype == types_pb2.DATA_TYPE_BFLOAT16:
        return (held.astype(np.uint32) << 16).view(np.float32)
    return held.astype(np.float32) if held.dtype.kind == "f" else held


def write(array: np.ndarray) -> types_pb2.Tensor:
    return types_pb2.Tensor(dtype=WIRE[array.dtype.name], shape=array.shape, data=array.tobytes())


def status(
    code: grpc.StatusCode, message: str, reason: str = "", field_name: str = "", retry_s: float = 0.0
) -> status_pb2.Status:
    """A google.rpc.Status with the details that STYLE asks of the server."""
    details: list[Any] = []
    if reason:
        details.append(error_details_pb2.ErrorInfo(reason=reason, domain="negmine"))
    if field_name:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field_name, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_s:
        delay = Duration()
        delay.FromMilliseconds(round(retry_s * 1000))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = []
    for detail in details:
        held = AnyMessage()
        held.Pack(detail)
        packed.append(held)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def brute_force(request: mining_pb2.MineRequest, store: Any) -> mining_pb2.MineResponse:
    """Top k by cosine, without the anchor's own id and positives."""
    anchors = read(request.embeddings)
    known = sorted(store.items)
    vectors = np.array([store.items[id_][1] for id_ in known], np.float32).reshape(len(known), anchors.shape[1])
    own = read(request.own_ids) if request.HasField("own_ids") else np.full(len(anchors), -1)
    offsets = values = np.zeros(len(anchors) + 1, np.int64)
    if request.HasField("positives"):
        offsets, values = read(request.positives.offsets), read(request.positives.values)
    ids = np.full((len(anchors), request.k), -1, np.int64)
    scores = np.full((len(anchors), request.k), np.nan, np.float32)
    counts = np.zeros(len(anchors), np.int32)
    missing = []
    for row, anchor in enumerate(anchors):
        positives = values[offsets[row] : offsets[row + 1]].tolist()
        missing += [(row, id_) for id_ in positives if id_ not in store.items]
        found = [
            (-float(vector @ anchor / np.linalg.norm(vector) / np.linalg.norm(anchor)), id_)
            for id_, vector in zip(known, vectors, strict=True)
            if id_ not in {int(own[row]), *positives}
        ]
        best = sorted(found)[: request.k]
        counts[row] = len(best)
        ids[row, : len(best)] = [id_ for _, id_ in best]
        scores[row, : len(best)] = [-score for score, _ in best]
    full, few = mining_pb2.OUTCOME_FULL, mining_pb2.OUTCOME_EXHAUSTED
    return mining_pb2.MineResponse(
        ids=write(ids),
        scores=write(scores),
        counts=write(counts),
        outcomes=[full if count == request.k else few for count in counts],
        drops=[mining_pb2.DropCount(reason=mining_pb2.DROP_REASON_OWN_ID, count=int((own >= 0).sum()))],
        missing_positives=[mining_pb2.MissingPositive(anchor=row, id=id_) for row, id_ in missing],
        timings=[mining_pb2.Timing(stage="scan", duration_ms=1.0)],
        watermark=store.watermark(),
        newest=types_pb2.Version(generation=0, step=max((item[0] for item in store.items.values()), default=0)),
        collection=request.collection,
        rows_scanned=len(known),
    )


def brute_explanation(request: mining_pb2.ExplainRequest, store: Any) -> mining_pb2.ExplainResponse:
    """The nearest by cosine, which are either picked or not."""
    bare = mining_pb2.MineRequest(embeddings=request.request.embeddings, k=request.candidates)
    nearest, response = brute_force(bare, store), brute_force(request.request, store)
    ids, picked = read(nearest.ids), read(response.ids)
    verdicts = np.where((ids[:, :, None] == picked[:, None]).any(2), 1, 10)
    groups = np.array([[store.items[id_][2] if id_ >= 0 else -1 for id_ in row] for row in ids.tolist()], np.int64)
    return mining_pb2.ExplainResponse(
        response=response,
        ids=nearest.ids,
        scores=nearest.scores,
        verdicts=write(np.where(ids < 0, 0, verdicts).astype(np.int32)),
        groups=write(groups.reshape(ids.shape)),
    )
