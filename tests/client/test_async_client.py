"""The asyncio client: the same calls, and what belongs to event loops."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections import deque
from typing import Any

import grpc
import negmine
import numpy as np
import pytest
from conftest import PATIENT
from fault_server import FaultServer
from fault_wire import status

TWINS = [
    (negmine.Client, negmine.AsyncClient),
    (negmine.Collection, negmine.AsyncCollection),
    (negmine.Writer, negmine.AsyncWriter),
]


@pytest.mark.parametrize("twins", TWINS, ids=lambda pair: pair[0].__name__)
def test_twins_have_the_same_methods_and_arguments(twins: tuple[Any, Any]) -> None:
    blocking, other = (
        {name: member for name, member in vars(kind).items() if not name.startswith("_")} for kind in twins
    )
    assert set(blocking) == set(other)
    for name, member in blocking.items():
        if callable(member):
            ours, theirs = inspect.signature(member), inspect.signature(other[name])
            assert list(ours.parameters.values()) == list(theirs.parameters.values()), name
    ours, theirs = (list(inspect.signature(kind).parameters) for kind in twins)
    assert ours == theirs


async def test_calls_are_made_repeated_and_their_errors_typed(faulty: FaultServer) -> None:
    async with negmine.AsyncClient(faulty.target, retry=PATIENT, token="t") as client:
        faulty.faults.fail["GetServerInfo"] = deque([status(grpc.StatusCode.UNAVAILABLE, "not now")] * 3)
        assert (await client.server_info()).version == "0"
        assert faulty.store.metadata["authorization"] == "Bearer t"
        faulty.faults.fail["StartGeneration"] = deque([status(grpc.StatusCode.NOT_FOUND, "no c", "NOT_FOUND")])
        with pytest.raises(negmine.NotFound, match="no c"):
            await client.collection("c").start_generation()


async def test_mining_in_parts_and_streams_keeps_the_order(faulty: FaultServer) -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 8)).astype(np.float32)
    faulty.faults.anchors_max = 4
    async with negmine.AsyncClient(faulty.target, retry=PATIENT) as client:
        collection = client.collection("c")
        await collection.upsert(np.arange(30), vectors)
        whole = await collection.mine(vectors, 1)
        assert whole.ids[:, 0].tolist() == list(range(30))
        batches: list[negmine.MineArgs] = [{"anchors": vectors[first : first + 6], "k": 1} for first in range(0, 30, 6)]
        got = [found.ids[:, 0].tolist() async for found in collection.mine_stream(batches, window=3)]
        assert got == [list(range(first, first + 6)) for first in range(0, 30, 6)]


async def test_an_error_comes_in_its_place(faulty: FaultServer) -> None:
    async with negmine.AsyncClient(faulty.target) as client:
        good: negmine.MineArgs = {"anchors": [[1.0, 2.0]], "k": 1}
        bad: negmine.MineArgs = {"anchors": [[1.0, 2.0]], "k": 1, "own_ids": [1, 2]}
        answers = client.collection("c").mine_stream([good, bad, good])
        assert len(await anext(answers)) == 1
        with pytest.raises(negmine.InvalidInput, match="own_ids has shape"):
            await anext(answers)


async def test_a_late_answer_is_a_deadline_and_cancelling_cancels(faulty: FaultServer) -> None:
    faulty.hold()
    async with negmine.AsyncClient(faulty.target) as client:
        with pytest.raises(negmine.DeadlineExceeded):
            await client.collection("c").mine([[1.0, 2.0]], 1, timeout_s=0.2)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.collection("c").mine([[1.0, 2.0]], 1)


def test_each_event_loop_has_its_own_channel(faulty: FaultServer) -> None:
    client = negmine.AsyncClient(faulty.target)

    async def ask() -> str:
        return (await client.server_info()).version

    assert [asyncio.run(ask()) for _ in range(3)] == ["0", "0", "0"]


async def test_a_closed_client_says_so(faulty: FaultServer) -> None:
    client = negmine.AsyncClient(faulty.target)
    await client.server_info()
    await client.close()
    await client.close()
    with pytest.raises(negmine.ClientClosed):
        await client.server_info()


def test_it_pickles_as_its_settings() -> None:
    client = negmine.AsyncClient("a:1", timeout_s=3, retry=PATIENT)
    assert pickle.loads(pickle.dumps(client)).settings == client.settings
