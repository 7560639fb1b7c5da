"""Parts and windows of mine calls, in the order of the batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

import grpc
import negmine
import numpy as np
import pytest
from fault_server import FaultServer
from fault_wire import status

VECTORS = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)


@pytest.fixture
def collection(client: negmine.Client) -> negmine.Collection:
    made = client.collection("c")
    made.upsert(np.arange(50), VECTORS, step=4)
    return made


def args(first: int, count: int, **more: object) -> negmine.MineArgs:
    own = np.arange(first, first + count)
    lists = [[id_ + 1, 1000 + id_] for id_ in own.tolist()]
    return {"anchors": VECTORS[own], "k": 3, "own_ids": own, "positives": lists, **more}  # type: ignore[typeddict-item]


def test_parts_are_joined_as_if_they_were_one(faulty: FaultServer, client: negmine.Client) -> None:
    collection = client.collection("c")
    collection.upsert(np.arange(50), VECTORS, step=4)
    whole = collection.mine(**args(0, 20))
    faulty.faults.anchors_max = 3
    with negmine.Client(faulty.target) as other:
        parts = other.collection("c").mine(**args(0, 20))
    assert faulty.store.calls["Mine"] == 1 + 7
    assert [request.embeddings.shape[0] for request in faulty.store.mined] == [20, 3, 3, 3, 3, 3, 3, 2]
    np.testing.assert_array_equal(parts.ids, whole.ids)
    np.testing.assert_allclose(parts.scores, whole.scores)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert parts.outcomes == whole.outcomes
    assert parts.missing_positives == whole.missing_positives == tuple((i, 1000 + i) for i in range(20))
    assert parts.drops == whole.drops == {"own_id": 20}
    assert parts.timings_ms == {"scan": 7.0}
    assert parts.watermark == whole.watermark
    assert parts.newest == negmine.Version(0, 4)
    assert parts.standard_errors is None
    assert not parts.starved.any()


def test_streams_answer_in_order_with_a_window_on_its_way(faulty: FaultServer, collection: negmine.Collection) -> None:
    faulty.hold()
    read: list[int] = []

    def batches() -> Iterator[negmine.MineArgs]:
        for first in range(12):
            read.append(first)
            yield args(first, 2)

    answers = collection.mine_stream(batches(), window=3)
    got: list[negmine.Negatives] = []
    worker = threading.Thread(target=lambda: got.extend(answers))
    worker.start()
    faulty.wait_for(lambda store: store.calls.get("Mine", 0) == 3)
    assert read == [0, 1, 2]
    faulty.release()
    worker.join(20)
    assert len(got) == 12
    for first, found in enumerate(got):
        np.testing.assert_array_equal(found.ids, collection.mine(**args(first, 2)).ids)


@pytest.mark.parametrize("kind", ["server", "arguments"])
def test_an_error_comes_in_its_place(kind: str, faulty: FaultServer, collection: negmine.Collection) -> None:
    batches = [args(first, 2) for first in range(5)]
    if kind == "arguments":
        batches[3]["own_ids"] = [1]
    else:
        batches[3]["anchors"] = np.ones((2, 8), np.float32)
        fail = status(grpc.StatusCode.INVALID_ARGUMENT, "own_ids has shape")
        faulty.faults.fail["Mine"] = deque([None, None, None, fail])  # type: ignore[list-item]
    window = 1 if kind == "server" else 4  # calls on their way together arrive in any order
    answers = collection.mine_stream(batches, window=window)
    for _ in range(3):
        next(answers)
    with pytest.raises(negmine.InvalidInput, match="own_ids has shape"):
        next(answers)
    assert list(answers) == []


def test_an_alias_that_moves_between_parts_is_aborted(faulty: FaultServer, client: negmine.Client) -> None:
    collection = client.collection("c")
    collection.upsert([1], [[1.0, 0.0]])
    faulty.faults.anchors_max = 1
    faulty.store.incarnations = deque(["one", "two"])
    with pytest.raises(negmine.Aborted, match="mine again") as caught:
        collection.mine(np.ones((2, 2), np.float32), k=1)
    assert caught.value.reason == "ALIAS_MOVED"


def test_the_window_is_at_least_one(collection: negmine.Collection) -> None:
    with pytest.raises(negmine.InvalidInput, match="window is 0"):
        collection.mine_stream([], window=0)


def test_few_are_starved(collection: negmine.Collection) -> None:
    found = collection.mine(VECTORS[:2], k=60)
    assert found.counts.tolist() == [50, 50]
    assert found.outcomes == (negmine.Outcome.EXHAUSTED, negmine.Outcome.EXHAUSTED)
    assert found.starved.tolist() == [True, True]
    assert found.ids.flags.writeable
