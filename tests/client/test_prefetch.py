"""Mining ahead: order, errors in their place, and no thread left."""

from __future__ import annotations

import itertools
import math
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator

import grpc
import negmine
import numpy as np
import pytest
from fault_server import FaultServer
from fault_wire import status
from negmine.v1 import collection_pb2


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


AWAY = status(grpc.StatusCode.UNAVAILABLE, "gone", "UNAVAILABLE")


def until(steps: Iterator[tuple[int, object]], mined: bool) -> int:
    """Steps taken until one that is mined, or that is not."""
    for count, (_, negatives) in enumerate(steps, 1):
        if (negatives is not None) == mined:
            return count
    raise AssertionError("the steps have ended")


def test_a_server_that_is_away_is_missed_and_comes_back(faulty: FaultServer, collection: negmine.Collection) -> None:
    prefetcher = negmine.Prefetcher(collection, itertools.count(), lambda b: anchor(b % 20), on_error="in_batch")
    steps = iter(prefetcher)
    assert next(steps)[1] is not None
    faulty.run(faulty.proxy.stop())
    until(steps, mined=False)
    missed = [next(steps)[1] for _ in range(50)]
    assert missed == [None] * 50
    assert prefetcher.missed == 51
    faulty.run(faulty.proxy.start())
    until(steps, mined=True)
    assert [next(steps)[1] is None for _ in range(5)] == [False] * 5
    before = prefetcher.missed
    steps.close()  # type: ignore[attr-defined]
    assert prefetcher.missed == before


def test_a_server_that_hangs_costs_one_step_its_timeout(faulty: FaultServer, collection: negmine.Collection) -> None:
    faulty.hold()
    prefetcher = negmine.Prefetcher(
        collection, itertools.count(), lambda b: anchor(b % 20), on_error="in_batch", timeout_s=0.3
    )
    steps = iter(prefetcher)
    begin = time.monotonic()
    assert [next(steps)[1] for _ in range(200)] == [None] * 200
    assert 0.3 <= time.monotonic() - begin < 2
    assert faulty.store.calls["Mine"] == 1
    assert faulty.store.calls["GetCollection"] == 1
    faulty.release()
    until(steps, mined=True)
    steps.close()  # type: ignore[attr-defined]


def test_a_collection_that_loads_is_not_called_for(faulty: FaultServer, collection: negmine.Collection) -> None:
    faulty.faults.state = collection_pb2.SERVING_STATE_LOADING
    faulty.faults.fail["Mine"] = deque([AWAY] * 4)  # the call and its retries
    prefetcher = negmine.Prefetcher(collection, itertools.count(), lambda b: anchor(b % 20), on_error="in_batch")
    steps = iter(prefetcher)
    while faulty.store.calls.get("GetCollection", 0) < 3:
        assert next(steps)[1] is None
    assert faulty.store.calls["Mine"] == 4
    faulty.faults.state = collection_pb2.SERVING_STATE_SERVING
    until(steps, mined=True)
    steps.close()  # type: ignore[attr-defined]


def test_what_waiting_does_not_cure_is_raised(faulty: FaultServer, collection: negmine.Collection) -> None:
    faulty.faults.fail["Mine"] = deque([status(grpc.StatusCode.NOT_FOUND, "no such collection", "NOT_FOUND")])
    prefetcher = negmine.Prefetcher(collection, range(3), anchor, on_error="in_batch")
    with pytest.raises(negmine.NotFound, match="no such collection"):
        list(prefetcher)
    assert prefetcher.missed == 0


def test_a_dropped_collection_is_found_out_after_an_outage(faulty: FaultServer, collection: negmine.Collection) -> None:
    gone = status(grpc.StatusCode.NOT_FOUND, "no such collection", "NOT_FOUND")
    faulty.faults.fail = {"Mine": deque([AWAY] * 4 + [gone]), "GetCollection": deque([gone])}
    with pytest.raises(negmine.NotFound, match="no such collection"):
        until(
            iter(negmine.Prefetcher(collection, itertools.count(), lambda b: anchor(b % 20), on_error="in_batch")),
            mined=True,
        )


def test_other_negatives_count_as_missed(faulty: FaultServer, collection: negmine.Collection) -> None:
    other = collection.mine(**anchor(0))
    faulty.faults.fail["Mine"] = deque([AWAY] * 4)
    prefetcher = negmine.Prefetcher(collection, range(3), anchor, on_error=lambda _batch, _error: other)
    assert next(iter(prefetcher)) == (0, other)
    assert prefetcher.missed == 1
    prefetcher.close()


@pytest.mark.parametrize("place", ["prefetcher", "arguments", "client"])
def test_every_call_has_a_deadline(place: str, faulty: FaultServer, collection: negmine.Collection) -> None:
    faulty.hold()
    args: negmine.MineArgs = {**anchor(0), "timeout_s": 0.2} if place == "arguments" else anchor(0)
    with negmine.Client(faulty.target, timeout_s=0.2 if place == "client" else 30) as client:
        own = client.collection("c")
        steps = iter(
            negmine.Prefetcher(own, range(2), lambda _: args, timeout_s=0.2 if place == "prefetcher" else None)
        )
        begin = time.monotonic()
        with pytest.raises(negmine.DeadlineExceeded):
            next(steps)
        assert time.monotonic() - begin < 2


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_timeouts_are_finite(value: float, client: negmine.Client) -> None:
    with pytest.raises(negmine.InvalidInput, match=f"timeout_s is {value}; expected more than 0 and finite"):
        negmine.Prefetcher(client.collection("c"), [], anchor, timeout_s=value)


def test_policies_for_errors_are_known(client: negmine.Client) -> None:
    with pytest.raises(negmine.InvalidInput, match="on_error is 'ignore'; expected raise, in_batch or a function"):
        negmine.Prefetcher(client.collection("c"), [], anchor, on_error="ignore")  # type: ignore[call-overload]


def test_a_server_that_never_speaks_has_a_deadline_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        with negmine.Client(target, timeout_s=30) as client:  # its bounds are not known yet: they are asked for first
            begin = time.monotonic()
            with pytest.raises((negmine.DeadlineExceeded, negmine.Unavailable)):
                next(iter(negmine.Prefetcher(client.collection("c"), range(2), anchor, timeout_s=0.3)))
            assert time.monotonic() - begin < 2
    assert threads() == []
