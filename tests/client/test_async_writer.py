"""The asyncio writer against a server that breaks, and a proxy that cuts; the outbox behind it has its own tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import negmine
import numpy as np
import pytest
from conftest import PATIENT
from fault_server import FaultServer
from fault_wire import status


@pytest.fixture
async def collection(faulty: FaultServer) -> AsyncIterator[negmine.AsyncCollection]:
    async with negmine.AsyncClient(faulty.target, retry=PATIENT, timeout_s=10) as client:
        yield client.collection("c")


def rows(count: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(first)
    return np.arange(first, first + count), random.standard_normal((count, 64)).astype(np.float32)


@pytest.mark.parametrize("fault", ["lose", "break"])
async def test_a_broken_stream_goes_on(fault: str, faulty: FaultServer, collection: negmine.AsyncCollection) -> None:
    faulty.faults.upserts.extend(["apply", fault, "apply", "apply", fault, "apply"])
    result = await collection.upsert(*rows(20), batch_rows=2)
    assert sum(faulty.store.applied_rows) == 20
    assert result.rows == 20
    assert result.duplicate >= (4 if fault == "lose" else 0)  # gRPC's asyncio API may drop acks with the status


async def test_connections_cut_at_any_byte_lose_nothing(
    faulty: FaultServer, collection: negmine.AsyncCollection
) -> None:
    faulty.proxy.cut_after_bytes.extend([5_000, 20_000, 0, 30_000, 12_345])
    ids, vectors = rows(400)
    async with collection.writer(batch_rows=20, window=4) as writer:
        for first in range(0, 400, 40):
            await writer.send(ids[first : first + 40], vectors[first : first + 40])
    assert writer.result.rows == sum(faulty.store.applied_rows) == 400
    assert not faulty.proxy.cut_after_bytes  # every connection that was to be cut was


async def test_sending_waits_only_for_a_full_window(faulty: FaultServer, collection: negmine.AsyncCollection) -> None:
    faulty.hold()
    async with collection.writer(window=3, batch_rows=1) as writer:
        await writer.send(*rows(3))
        late = asyncio.create_task(writer.send(*rows(1, 3)))
        assert not (await asyncio.wait([late], timeout=0.1))[0]
        faulty.release()
        await late
        assert (await writer.flush()).rows == 4


async def test_a_refused_batch_says_how_many_rows_are_in(
    faulty: FaultServer, collection: negmine.AsyncCollection
) -> None:
    wrong = status(grpc.StatusCode.INVALID_ARGUMENT, "embeddings[1] holds NaN", "INVALID_INPUT", "embeddings")
    faulty.faults.upserts.extend(["apply", "apply", *[wrong] * 20])  # its status may be hidden, and is asked for again
    with pytest.raises(negmine.InvalidInput, match=r"embeddings\[1\] holds NaN") as caught:
        await collection.upsert(*rows(10), batch_rows=3)
    assert caught.value.progress is not None
    assert caught.value.progress.result.rows <= 6  # gRPC's asyncio API may drop acks that come with the status
    assert sorted(faulty.store.items) == list(range(6))


async def test_a_server_that_hangs_is_a_deadline(faulty: FaultServer, collection: negmine.AsyncCollection) -> None:
    faulty.faults.upserts.extend(["apply", "hang"])
    with pytest.raises(negmine.DeadlineExceeded, match=r"no ack of an upsert for 0\.5 s") as caught:
        await collection.upsert(*rows(4), batch_rows=2, timeout_s=0.5)
    assert caught.value.progress is not None
    assert caught.value.progress.result.rows == 2


async def test_acks_are_reported_and_their_failures_raised(collection: negmine.AsyncCollection) -> None:
    seen: list[int] = []
    await collection.upsert(*rows(5), batch_rows=2, on_ack=lambda result: seen.append(result.rows))
    assert seen == [2, 4, 5]

    def fail(_result: negmine.UpsertResult) -> None:
        raise RuntimeError("the progress bar broke")

    with pytest.raises(RuntimeError, match="progress bar"):
        await collection.upsert(*rows(5), on_ack=fail)


async def test_leaving_by_an_exception_ends_the_task(faulty: FaultServer, collection: negmine.AsyncCollection) -> None:
    faulty.hold()
    writer = collection.writer()

    async def step() -> None:
        async with writer:
            await writer.send(*rows(2))
            raise KeyError

    with pytest.raises(KeyError):
        await step()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "negmine-writer"]
    with pytest.raises(negmine.ClientClosed):
        await writer.send(*rows(2))


async def test_a_cancelled_upsert_ends_its_task(faulty: FaultServer, collection: negmine.AsyncCollection) -> None:
    faulty.hold()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await collection.upsert(*rows(2))
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "negmine-writer"]
