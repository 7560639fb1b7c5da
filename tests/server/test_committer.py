"""Group commit on a real log: order, bounds, failures and the takeovers after them, and other owners."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from house import FaultyObjects
from negmine_server.committer import CommitOptions
from negmine_server.domain import Applied, Batch, Metric, VectorStore
from negmine_server.errors import Aborted, Fenced, NotReady, Overloaded, StorageFailed, StorageFull
from negmine_server.shard import Shard, ShardOptions

WAIT_S = 30


class Bench:
    """One shard on files that fail on command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = FaultyObjects(folder)
        self.background = ThreadPoolExecutor(1)
        self.shards: list[Shard] = []

    def shard(self, commit: CommitOptions | None = None) -> Shard:
        wanted = ShardOptions(64, 8, Metric.COSINE, VectorStore.NONE, commit=commit or CommitOptions())
        self.shards.append(Shard(wanted, self.objects, "s", on_applied=lambda: None, background=self.background))
        return self.shards[-1]

    def hold(self) -> None:
        self.objects.only, self.objects.held = "/log/", threading.Event()

    def let_go(self) -> None:
        assert self.objects.held is not None
        self.objects.held.set()
        self.objects.held = None

    def close(self) -> None:
        self.objects.failure = None
        if self.objects.held is not None:
            self.let_go()
        for shard in self.shards:
            shard.close()
        self.background.shutdown()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def rows(first: int, count: int = 1, *, writer: str = "", number: int = 0, version: int = 0) -> Batch:
    ids = np.arange(first, first + count)
    return Batch(
        ids=ids,
        versions=np.full(count, version, np.int64),
        codes=ids.astype(np.uint64)[:, None],
        corrections=np.ones(count, np.float32),
        writer=writer,
        number=number,
    )


def found(shard: Shard, *ids: int) -> list[bool]:
    return shard.fetch(np.array(ids, np.int64))[0].tolist()


def log_objects(bench: Bench) -> int:
    return len(bench.objects.list("s/log/"))


def test_batches_that_wait_share_one_log_object(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=1))
    before = log_objects(bench)
    bench.hold()
    first = shard.apply(rows(0))
    bench.objects.arrived.acquire()
    rest = [shard.apply(rows(number)) for number in range(1, 50)]
    bench.let_go()
    sequences = {future.result(WAIT_S).sequence for future in rest}
    assert len(sequences) == 1
    assert sequences == {first.result().sequence + 1}
    assert log_objects(bench) - before == 2


def test_an_object_has_its_bound_in_bytes(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=1, bytes_max=1))
    bench.hold()
    futures = [shard.apply(rows(number)) for number in range(4)]
    bench.let_go()
    sequences = [future.result(WAIT_S).sequence for future in futures]
    assert sequences == list(range(sequences[0], sequences[0] + 4))


def test_futures_resolve_in_order_once_it_is_visible(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=4, bytes_max=1))
    order: list[tuple[int, bool]] = []

    def note(future: Future[Applied], first: int) -> None:
        order.append((first, found(shard, first)[0] and shard.sequence >= future.result().sequence))

    bench.hold()
    futures = [shard.apply(rows(number)) for number in range(30)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda future, number=number: note(future, number))
    bench.let_go()
    futures[-1].result(WAIT_S)
    shard.close()
    assert order == [(number, True) for number in range(30)]


def test_a_full_queue_says_so(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=1, bytes_max=1, queue_batches_max=3))
    bench.hold()
    first = shard.apply(rows(0))
    bench.objects.arrived.acquire()
    waiting = [shard.apply(rows(number)) for number in (1, 2, 3)]
    with pytest.raises(Overloaded, match="3 batches waiting") as caught:
        shard.apply(rows(4))
    assert caught.value.retry_after_ms > 0
    bench.let_go()
    assert all(future.result(WAIT_S).inserted == 1 for future in (first, *waiting))
    assert shard.apply(rows(4)).result(WAIT_S).inserted == 1


@pytest.mark.parametrize("failure", [StorageFull("no room"), StorageFailed("broken")])
def test_a_failure_fails_what_is_in_flight_and_is_over_when_the_store_works_again(
    bench: Bench, failure: StorageFull | StorageFailed
) -> None:
    shard = bench.shard(CommitOptions(window=2, bytes_max=1))
    shard.apply(rows(0)).result(WAIT_S)
    bench.hold()
    futures = [shard.apply(rows(number)) for number in range(1, 6)]
    bench.objects.failure = failure
    bench.let_go()
    for future in futures:
        with pytest.raises(type(failure)):
            future.result(WAIT_S)
    assert found(shard, 0, 1, 2, 3, 4, 5) == [True] + [False] * 5
    with pytest.raises(type(failure)):
        shard.apply(rows(6)).result(WAIT_S)
    assert shard.problem is None
    bench.objects.failure = None
    assert shard.apply(rows(6)).result(WAIT_S).inserted == 1
    shard.close()
    again = bench.shard()
    assert found(again, *range(8)) == [True, False, False, False, False, False, True, False]


def test_a_failed_batch_holds_back_the_later_ones_of_its_writer(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=1, bytes_max=1))
    shard.apply(rows(1, writer="w", number=1)).result(WAIT_S)
    bench.hold()
    bench.objects.failure = StorageFull("no room")
    doomed = [shard.apply(rows(2, writer="w", number=2))]
    bench.objects.arrived.acquire()
    bench.let_go()
    with pytest.raises(StorageFull):
        doomed[0].result(WAIT_S)
    bench.objects.failure = None
    with pytest.raises(Aborted, match="resend from 2"):
        shard.apply(rows(3, writer="w", number=3)).result(WAIT_S)
    assert shard.apply(rows(9, writer="other", number=7)).result(WAIT_S).inserted == 1
    assert shard.apply(rows(1, writer="w", number=1)).result(WAIT_S).duplicate
    for number in (2, 3):
        assert shard.apply(rows(number, writer="w", number=number)).result(WAIT_S).inserted == 1
    assert found(shard, 1, 2, 3, 9) == [True] * 4


def test_a_retry_that_meets_its_first_try_in_flight_is_applied_once(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=2, bytes_max=1))
    bench.hold()
    first = shard.apply(rows(1, writer="w", number=1))
    bench.objects.arrived.acquire()
    second = shard.apply(rows(1, writer="w", number=1))
    bench.let_go()
    assert [first.result(WAIT_S).duplicate, second.result(WAIT_S).duplicate] == [False, True]
    assert second.result().inserted == 0
    shard.close()
    again = bench.shard()
    assert again.apply(rows(1, writer="w", number=1)).result(WAIT_S).duplicate
    assert again.stats().rows.rows == 1


def test_a_batch_in_doubt_that_made_it_is_applied_by_the_takeover(bench: Bench) -> None:
    """The create succeeds and its answer is lost: the rows are there once the log is taken over again."""
    shard = bench.shard(CommitOptions(window=1))
    real = bench.objects.create
    lost = threading.Event()

    def lose_the_answer(key: str, data: bytes) -> None:
        real(key, data)
        if "/log/" in key and not lost.is_set():
            lost.set()
            raise StorageFailed("the answer was lost")

    bench.objects.create = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(StorageFailed):
        shard.apply(rows(1, writer="w", number=1)).result(WAIT_S)
    assert lost.is_set()
    assert shard.apply(rows(1, writer="w", number=1)).result(WAIT_S).duplicate
    assert shard.apply(rows(2, writer="w", number=2)).result(WAIT_S).inserted == 1
    assert found(shard, 1, 2) == [True, True]


def test_a_caller_who_leaves_cannot_cancel_a_batch(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=1, bytes_max=1))
    bench.hold()
    futures = [shard.apply(rows(number)) for number in range(3)]
    bench.objects.arrived.acquire()
    assert not any(future.cancel() for future in futures)
    bench.let_go()
    assert [future.result(WAIT_S).inserted for future in futures] == [1, 1, 1]
    assert shard.apply(rows(3)).result(WAIT_S).inserted == 1


def test_another_owner_fences_it(bench: Bench) -> None:
    old = bench.shard()
    old.apply(rows(1)).result(WAIT_S)
    new = bench.shard()
    assert found(new, 1) == [True]
    with pytest.raises(Fenced):
        old.apply(rows(2)).result(WAIT_S)
    assert isinstance(old.problem, Fenced)
    with pytest.raises(Fenced):
        old.apply(rows(3))
    assert new.apply(rows(4)).result(WAIT_S).inserted == 1
    assert found(old, 1, 2) == [True, False]  # searches of what it knew go on
    assert found(new, 1, 2, 4) == [True, False, True]


def test_closing_finishes_what_is_queued_and_refuses_the_rest(bench: Bench) -> None:
    shard = bench.shard(CommitOptions(window=1, bytes_max=1))
    bench.hold()
    futures = [shard.apply(rows(number)) for number in range(5)]
    bench.objects.arrived.acquire()
    closing = threading.Thread(target=shard.close)
    closing.start()
    bench.let_go()
    closing.join()
    assert [future.result(0).inserted for future in futures] == [1] * 5
    with pytest.raises(NotReady, match="clos"):
        shard.apply(rows(9))
    shard.close()


def test_no_batch_is_left_without_an_answer_when_it_closes(bench: Bench) -> None:
    """Batches handed in while another thread closes the shard are applied or refused, never forgotten."""
    for attempt in range(10):
        shard = bench.shard(CommitOptions(queue_batches_max=8))
        futures: list[Future[Applied]] = []
        begun = threading.Event()

        def send(shard: Shard = shard, futures: list[Future[Applied]] = futures, begun=begun) -> None:
            number = 0
            with suppress(NotReady):
                while True:
                    with suppress(Overloaded):
                        futures.append(shard.apply(rows(number)))
                        number += 1
                        begun.set()

        sending = threading.Thread(target=send)
        sending.start()
        begun.wait()
        shard.close()
        sending.join()
        assert all(future.result(WAIT_S).inserted + future.result().overwritten == 1 for future in futures), attempt
