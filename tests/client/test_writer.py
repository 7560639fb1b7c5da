"""The blocking writer against a server that breaks, and a proxy that cuts."""

from __future__ import annotations

import threading

import grpc
import negmine
import numpy as np
import pytest
from fault_server import FaultServer
from fault_wire import status


def rows(count: int, first: int = 0, dimension: int = 4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(first)
    return np.arange(first, first + count), random.standard_normal((count, dimension)).astype(np.float32)


def test_rows_arrive_with_everything_beside_them(faulty: FaultServer, client: negmine.Client) -> None:
    ids, vectors = rows(5)
    result = client.collection("c").upsert(
        ids, vectors, step=7, generation=2, groups=[0, 1, 2, -1, 4], tags=6, uncertainties=np.full(5, 0.5), batch_rows=2
    )
    assert (result.inserted, result.overwritten, result.stale, result.duplicate, result.rows) == (5, 0, 0, 0, 5)
    assert result.watermark == negmine.Watermark("one", 1, (3,))
    assert [faulty.store.items[id_][2:] for id_ in range(5)] == [(0, 6), (1, 6), (2, 6), (-1, 6), (4, 6)]
    assert all(batch.version.step == 7 and batch.version.generation == 2 for batch in faulty.store.batches)
    np.testing.assert_array_equal(np.stack([faulty.store.items[id_][1] for id_ in range(5)]), vectors)


def test_nothing_to_send_is_nothing_sent(faulty: FaultServer, client: negmine.Client) -> None:
    result = client.collection("c").upsert([], np.empty((0, 4), np.float32))
    assert result == negmine.UpsertResult()
    assert faulty.store.batches == []


@pytest.mark.parametrize("fault", ["lose", "break"])
def test_a_broken_stream_goes_on_from_the_first_batch_without_an_ack(
    fault: str, faulty: FaultServer, client: negmine.Client
) -> None:
    faulty.faults.upserts.extend(["apply", fault, "apply", "apply", fault, "apply"])
    ids, vectors = rows(20)
    result = client.collection("c").upsert(ids, vectors, batch_rows=2)
    assert sum(faulty.store.applied_rows) == 20  # nothing twice, nothing left out
    assert sorted(faulty.store.items) == ids.tolist()
    assert result.rows == 20
    assert result.duplicate == (4 if fault == "lose" else 0)
    assert faulty.store.connections == 3


def test_connections_cut_at_any_byte_lose_nothing(faulty: FaultServer, client: negmine.Client) -> None:
    ids, vectors = rows(400, dimension=64)
    faulty.proxy.cut_after_bytes.extend([5_000, 20_000, 0, 30_000, 12_345])
    with client.collection("c").writer(batch_rows=20, window=4) as writer:
        for first in range(0, 400, 40):
            writer.send(ids[first : first + 40], vectors[first : first + 40], step=1)
        result = writer.flush()
    assert result.rows == 400
    assert sum(faulty.store.applied_rows) == 400
    assert {id_: item[0] for id_, item in faulty.store.items.items()} == dict.fromkeys(range(400), 1)
    assert not faulty.proxy.cut_after_bytes  # every connection that was to be cut was


def test_sending_waits_only_for_a_full_window(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.hold()
    sent = threading.Event()
    with client.collection("c").writer(window=3, batch_rows=1) as writer:
        writer.send(*rows(3))  # within the window: returns although no ack comes
        late = threading.Thread(target=lambda: (writer.send(*rows(1, 3)), sent.set()))
        late.start()
        assert not sent.wait(0.1)
        faulty.release()
        assert sent.wait(10)
        late.join()
        assert writer.flush().rows == 4


def test_the_servers_window_and_batch_limit_hold(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.window, faulty.faults.batch_rows_max = 1, 3
    client.collection("c").upsert(*rows(10), batch_rows=100)
    assert faulty.store.applied_rows == [3, 3, 3, 1]


def test_a_refused_batch_says_how_many_rows_are_in(faulty: FaultServer, client: negmine.Client) -> None:
    wrong = status(grpc.StatusCode.INVALID_ARGUMENT, "embeddings[1] holds NaN", "INVALID_INPUT", "embeddings")
    faulty.faults.upserts.extend(["apply", "apply", wrong])
    with pytest.raises(negmine.InvalidInput, match=r"embeddings\[1\] holds NaN") as caught:
        client.collection("c").upsert(*rows(10), batch_rows=3)
    assert caught.value.field == "embeddings"
    assert caught.value.progress is not None
    assert caught.value.progress.result.inserted == 6
    assert caught.value.progress.rows_sent == 10
    assert "6 of 10 rows" in caught.value.__notes__[0]
    assert faulty.store.connections == 1


def test_a_batch_in_part_says_which_rows_are_in(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.upserts.extend(["apply", "partial"])
    with pytest.raises(negmine.StorageFull, match="no room in shard 1") as caught:
        client.collection("c").upsert(*rows(8), batch_rows=4)
    assert caught.value.progress.result.rows == 4
    np.testing.assert_array_equal(caught.value.progress.applied, [False, True, False, True])


def test_giving_up_names_what_was_acked(faulty: FaultServer) -> None:
    retry = negmine.Retry(resumes_max=2, backoff_initial_s=0.001, backoff_max_s=0.001)
    faulty.faults.upserts.extend(["apply", "break", "break", "break"])
    with (
        negmine.Client(faulty.target, retry=retry) as client,
        pytest.raises(negmine.Unavailable, match="broken before") as caught,
    ):
        client.collection("c").upsert(*rows(4), batch_rows=2)
    assert caught.value.progress.result.inserted == 2
    assert "2 of 4 rows sent are acked; 3 tries" in caught.value.__notes__[0]
    assert faulty.store.connections == 3


def test_no_server_is_unavailable() -> None:
    retry = negmine.Retry(resumes_max=1, backoff_initial_s=0.001)
    with negmine.Client("127.0.0.1:1", retry=retry) as client, pytest.raises(negmine.Unavailable):
        client.collection("c").upsert(*rows(1))


def test_a_server_that_hangs_is_a_deadline(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.upserts.extend(["apply", "hang"])
    with pytest.raises(negmine.DeadlineExceeded, match=r"no ack of an upsert for 0.5 s") as caught:
        client.collection("c").upsert(*rows(4), batch_rows=2, timeout_s=0.5)
    assert caught.value.reason == "NO_ACK"
    assert caught.value.progress.result.rows == 2


def test_retry_advice_is_honoured(faulty: FaultServer, client: negmine.Client) -> None:
    import time

    busy = status(grpc.StatusCode.UNAVAILABLE, "the queue is full", "OVERLOADED", retry_s=0.4)
    faulty.faults.upserts.append(busy)
    began = time.monotonic()
    assert client.collection("c").upsert(*rows(2)).rows == 2
    assert time.monotonic() - began >= 0.4


def test_nonsense_is_an_internal_error_and_ends_the_thread(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.faults.upserts.append("nonsense")
    with pytest.raises(negmine.Internal, match="acked batch 1001; expected 1"):
        client.collection("c").upsert(*rows(2))
    assert not [thread for thread in threading.enumerate() if thread.name == "negmine-writer"]


def test_acks_are_reported_as_they_come(client: negmine.Client) -> None:
    seen: list[negmine.UpsertResult] = []
    client.collection("c").upsert(*rows(5), batch_rows=2, on_ack=seen.append)
    assert [result.rows for result in seen] == [2, 4, 5]


def test_a_failing_on_ack_fails_the_upsert(client: negmine.Client) -> None:
    def fail(_result: negmine.UpsertResult) -> None:
        raise RuntimeError("the progress bar broke")

    with pytest.raises(RuntimeError, match="progress bar"):
        client.collection("c").upsert(*rows(5), on_ack=fail)


def test_an_exception_in_the_block_leaves_without_waiting(faulty: FaultServer, client: negmine.Client) -> None:
    faulty.hold()
    writer = client.collection("c").writer()

    def step() -> None:
        with writer:
            writer.send(*rows(2))
            raise KeyError

    with pytest.raises(KeyError):
        step()
    with pytest.raises(negmine.ClientClosed, match="the writer is closed"):
        writer.send(*rows(2))


def test_the_caller_may_reuse_its_arrays(faulty: FaultServer, client: negmine.Client) -> None:
    ids, vectors = rows(3)
    wanted = vectors.copy()
    faulty.hold()
    with client.collection("c").writer() as writer:
        writer.send(ids, vectors)
        vectors[:] = 0
        faulty.release()
    np.testing.assert_array_equal(np.stack([faulty.store.items[id_][1] for id_ in range(3)]), wanted)


@pytest.mark.parametrize(
    ("ids", "vectors", "extra", "message"),
    [
        ([1, -4], np.ones((2, 3)), {}, r"ids\[1\] is -4; expected at least 0"),
        ([1, 2, 3], np.ones((2, 3)), {}, r"ids has shape \(3,\); expected \[2\]"),
        ([1.5, 2.5], np.ones((2, 3)), {}, "ids has dtype float64; expected integers"),
        ([1, 2], np.ones((2, 3), int), {}, "embeddings has dtype int64; expected float32"),
        ([1, 2], np.ones(3), {}, r"embeddings has shape \(3,\); expected \[n, dimension\]"),
        ([1, 2], np.ones((2, 3)), {"step": -1}, "step is -1; expected an integer from 0"),
        ([1, 2], np.ones((2, 3)), {"groups": [1]}, r"groups has shape \(1,\); expected \[2\]"),
        ([1, 2], np.ones((2, 3)), {"tags": [-1, 0]}, "tags holds -1; expected integers from 0"),
        ([1, 2], np.ones((2, 3)), {"batch_rows": 0}, "batch_rows is 0; expected at least 1"),
    ],
)
def test_what_cannot_be_right_is_refused_before_it_is_sent(
    ids: list, vectors: np.ndarray, extra: dict, message: str, faulty: FaultServer, client: negmine.Client
) -> None:
    with pytest.raises(negmine.InvalidInput, match=message):
        client.collection("c").upsert(ids, vectors, **extra)
    assert faulty.store.batches == []
