"""An Explain request, and the answer to its Mine → an Explain reply."""

from __future__ import annotations

import numpy as np
from negmine.v1 import mining_pb2 as pb
from negmine.v1 import types_pb2

from negmine_server.collection import Collection
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.explain import explain
from negmine_server.rpc.read_mine import MineLimits, read_mine
from negmine_server.rpc.tensors import read, write

_PAIRS_MAX = 1 << 22  # anchors times candidates of one call


def check_candidates(candidates: int, anchors: int, limits: MineLimits) -> None:
    """Raises InvalidInput or TooLarge where that many cannot be looked at."""
    if candidates < 1:
        raise InvalidInput(f"candidates is {candidates}; expected 1 to {limits.pool_max}", field="candidates")
    if candidates > limits.pool_max:
        raise TooLarge(f"candidates is {candidates}; this server takes up to {limits.pool_max}", field="candidates")
    if candidates * anchors > _PAIRS_MAX:
        raise TooLarge(
            f"{anchors} anchors with {candidates} candidates each; a call takes up to {_PAIRS_MAX} pairs",
            field="candidates",
        )


def explained(
    request: pb.ExplainRequest, response: pb.MineResponse, collection: Collection, limits: MineLimits
) -> pb.ExplainResponse:
    """The reply, where the collection answered the request's Mine with `response`."""
    call = read_mine(request.request, collection, limits)
    picked = read(response.ids, "ids", (types_pb2.DATA_TYPE_INT64,), (None, None))
    positive_scores = call.options.positive_scores
    if response.HasField("positive_scores"):
        scores = response.positive_scores
        positive_scores = read(scores, "positive_scores", (types_pb2.DATA_TYPE_FLOAT32,), (len(picked),))
    found = explain(
        call.anchors,
        call.options,
        collection.encoder,
        collection.engine,
        picked,
        positive_scores.astype(np.float32, copy=False),
        request.candidates,
    )
    return pb.ExplainResponse(
        response=response,
        ids=write(found.ids),
        scores=write(found.scores),
        verdicts=write(found.verdicts),
        groups=write(found.groups),
    )
