"""Mining ahead: order, errors in their place, and no thread left."""

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


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "negmine-prefetch"]


@pytest.fixture
def collection(client: negmine.Client) -> Iterator[negmine.Collection]:
    made = client.collection("c")
    made.upsert(np.arange(20), np.eye(20, dtype=np.float32) + 0.01)
    yield made
    assert threads() == []


def anchor(batch: int) -> negmine.MineArgs:
    vector = np.full((1, 20), 0.01, np.float32)
    vector[0, batch] = 1
    return {"anchors": vector, "k": 1}


def test_batches_come_in_order_with_their_negatives(collection: negmine.Collection) -> None:
    got = [(batch, found.ids[0, 0]) for batch, found in negmine.Prefetcher(collection, range(12), anchor, depth=3)]
    assert got == [(batch, batch) for batch in range(12)]


def test_it_mines_ahead_as_far_as_it_is_told(faulty: FaultServer, collection: negmine.Collection) -> None:
    read: list[int] = []

    def batches() -> Iterator[int]:
        for batch in range(10):
            read.append(batch)
            yield batch

    with negmine.Prefetcher(collection, batches(), anchor, depth=3) as prefetcher:
        steps = iter(prefetcher)
        assert next(steps)[0] == 0
        faulty.wait_for(lambda store: store.calls.get("Mine", 0) >= 4)  # the next three while this one trains
        assert next(steps)[0] == 1
        faulty.wait_for(lambda store: store.calls.get("Mine", 0) >= 5)
    assert faulty.store.calls["Mine"] <= 5
    assert len(read) <= 6


def test_an_error_is_raised_at_its_step(faulty: FaultServer, collection: negmine.Collection) -> None:
    fail = status(grpc.StatusCode.INVALID_ARGUMENT, "k is 0", "INVALID_INPUT", "k")
    done: list[int] = []

    def train() -> None:
        for batch, _ in negmine.Prefetcher(collection, range(5), anchor):
            done.append(batch)
            if batch == 0:
                faulty.wait_for(lambda store: store.calls.get("Mine", 0) >= 2)
                faulty.faults.fail["Mine"] = deque([fail])

    with pytest.raises(negmine.InvalidInput, match="k is 0"):
        train()
    assert 1 <= len(done) <= 4
    assert done == list(range(len(done)))


def test_a_batch_without_negatives_may_have_others(faulty: FaultServer, collection: negmine.Collection) -> None:
    other = collection.mine(**anchor(0))
    missed: list[tuple[int, str]] = []

    def instead(batch: int, error: negmine.NegmineError) -> negmine.Negatives:
        missed.append((batch, error.reason))
        return other

    faulty.faults.fail["Mine"] = deque([status(grpc.StatusCode.NOT_FOUND, "gone", "NOT_FOUND")])
    got = list(negmine.Prefetcher(collection, range(3), anchor, on_error=instead))
    assert missed == [(0, "NOT_FOUND")]
    assert got[0] == (0, other)
    assert [batch for batch, _ in got] == [0, 1, 2]


def test_errors_of_the_loader_come_after_the_batches_before_them(collection: negmine.Collection) -> None:
    def batches() -> Iterator[int]:
        yield 0
        yield 1
        raise OSError("the disk is gone")

    steps = iter(negmine.Prefetcher(collection, batches(), anchor, depth=5))
    assert [next(steps)[0], next(steps)[0]] == [0, 1]
    with pytest.raises(OSError, match="disk is gone"):
        next(steps)


def test_errors_of_the_arguments_are_never_replaced(collection: negmine.Collection) -> None:
    def broken(_batch: int) -> negmine.MineArgs:
        raise KeyError("x")

    steps = iter(
        negmine.Prefetcher(collection, range(3), broken, on_error=lambda _batch, error: pytest.fail(str(error)))
    )
    with pytest.raises(KeyError):
        next(steps)


@pytest.mark.parametrize("leave", ["break", "close", "drop"])
def test_leaving_early_ends_the_thread_and_its_call(
    leave: str, faulty: FaultServer, collection: negmine.Collection
) -> None:
    def batches() -> Iterator[int]:
        yield 0
        yield 1
        faulty.hold()
        yield 2

    prefetcher = negmine.Prefetcher(collection, batches(), anchor)
    steps = iter(prefetcher)
    next(steps)
    next(steps)
    faulty.wait_for(lambda store: store.calls["Mine"] == 3)  # the last one waits for the server
    if leave == "break":
        steps.close()  # type: ignore[attr-defined]
    elif leave == "close":
        prefetcher.close()
    else:
        del steps
    assert threads() == []


def test_one_prefetcher_may_be_iterated_again(collection: negmine.Collection) -> None:
    prefetcher = negmine.Prefetcher(collection, range(3), anchor)
    assert [[batch for batch, _ in prefetcher] for _ in range(2)] == [[0, 1, 2]] * 2


def test_depth_is_at_least_one(client: negmine.Client) -> None:
    with pytest.raises(negmine.InvalidInput, match="depth is 0; expected at least 1"):
        negmine.Prefetcher(client.collection("c"), [], anchor, depth=0)
