from __future__ import annotations

import negmine
import numpy as np
import pytest
from negmine import _replies
from negmine.v1 import collection_pb2, types_pb2


def collection(state: collection_pb2.ServingState.ValueType) -> collection_pb2.CollectionInfo:
    spec = collection_pb2.CollectionSpec(
        metric=types_pb2.METRIC_COSINE, vectors=types_pb2.VECTOR_STORE_NONE, recall_target=0.9
    )
    return collection_pb2.CollectionInfo(name="c", spec=spec, state=state)


@pytest.mark.parametrize("number", [number for number in collection_pb2.ServingState.values() if number])
def test_every_state_of_the_contract_has_its_name(number: collection_pb2.ServingState.ValueType) -> None:
    name = collection_pb2.ServingState.Name(number).removeprefix("SERVING_STATE_").lower()
    assert _replies.collection(collection(number)).state == name


def test_an_unknown_state_is_an_error() -> None:
    with pytest.raises(negmine.Internal, match="state 0, which this SDK does not know"):
        _replies.collection(collection(collection_pb2.SERVING_STATE_UNSPECIFIED))


@pytest.mark.parametrize(
    ("shards", "rows"),
    [([[3, 0, 4], [1, 2, 0]], [4, 2, 4]), ([[7], [5]], [12]), ([[3, 4], [1, 2, 0]], [3, 4, 1, 2, 0])],
)
def test_stats_add_shards_up(shards: list[list[int]], rows: list[int]) -> None:
    message = collection_pb2.GetStatsResponse(
        collection=collection(collection_pb2.SERVING_STATE_SERVING),
        shards=[
            collection_pb2.ShardStats(shard=number, rows=sum(held) + 10, bucket_rows=held, loose_rows=10)
            for number, held in enumerate(shards)
        ],
        measured_recall=0.97,
    )
    stats = _replies.stats(message)
    np.testing.assert_array_equal(stats.bucket_rows, rows)
    assert stats.bucket_rows.dtype == np.int64
    assert stats.loose_rows == sum(shard.loose_rows for shard in stats.shards) == 20
    assert (stats.measured_recall, stats.collection.recall_target) == (0.97, 0.9)
