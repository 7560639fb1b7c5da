"""Clients in forked, spawned and pickled places, as DataLoader workers are.

Each test plays in a trainer process of its own: this one holds the servers of other tests, whose remains a forked child
could not collect (gRPC's asyncio servers join a thread that the child does not have).
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import negmine
import numpy as np
import pytest

EYE = np.eye(12, 16, dtype=np.float32)


def play(trainer: Callable[..., None], *arguments: object) -> None:
    """Runs a function in a fresh process."""
    process = multiprocessing.get_context("spawn").Process(target=trainer, args=arguments)
    process.start()
    process.join(90)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0


def work(collection: negmine.Collection, answers: Any) -> None:
    """In a child: writes and mines over a channel of its own."""
    try:
        vector = np.random.default_rng(os.getpid()).standard_normal((1, 16)).astype(np.float32)
        collection.upsert([os.getpid()], vector)
        answers.put((os.getpid(), int(collection.mine(vector, k=1).ids[0, 0])))
    except BaseException as error:
        answers.put((os.getpid(), repr(error)))
        raise


def run_children(method: str, collection: negmine.Collection, count: int) -> None:
    context: Any = multiprocessing.get_context(method)
    answers = context.Queue()
    processes = [context.Process(target=work, args=(collection, answers)) for _ in range(count)]
    for process in processes:
        process.start()
    got = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(got) == sorted((process.pid, process.pid) for process in processes)


def trainer_with_children(method: str, collection: negmine.Collection) -> None:
    collection.upsert(np.arange(3), EYE[:3])  # the channel is open before the fork
    run_children(method, collection, 2)
    assert collection.info().rows == 5


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_work_and_the_parent_goes_on(method: str, fresh: negmine.Collection) -> None:
    play(trainer_with_children, method, fresh)


def trainer_with_a_stream(collection: negmine.Collection) -> None:
    with collection.writer() as writer:
        writer.send([1], EYE[:1])
        writer.flush()
        run_children("fork", collection, 3)
        writer.send([2], EYE[:1])
    assert writer.result.rows == 2
    assert collection.info().rows == 5


def test_a_fork_in_the_middle_of_a_stream_harms_neither(fresh: negmine.Collection) -> None:
    play(trainer_with_a_stream, fresh)


def abandon(clients: list[Any]) -> None:
    """In a forked child: closes and drops what the parent opened, which must not be touched."""
    clients[0].close()
    clients.clear()
    gc.collect()


def trainer_whose_child_closes(target: str) -> None:
    async def ask(client: negmine.AsyncClient) -> str:
        return (await client.server_info()).backend

    clients: list[Any] = [negmine.Client(target), negmine.AsyncClient(target)]
    backend = clients[0].server_info().backend
    assert asyncio.run(ask(clients[1])) == backend
    process = multiprocessing.get_context("fork").Process(target=abandon, args=(clients,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert clients[0].server_info().backend == backend
    assert asyncio.run(ask(clients[1])) == backend


def test_a_child_that_closes_leaves_the_parents_channels_alone(target: str) -> None:
    play(trainer_whose_child_closes, target)


class Corpus:
    """A map-style dataset whose items mine for themselves."""

    def __init__(self, collection: negmine.Collection) -> None:
        self.collection = collection

    def __len__(self) -> int:
        return len(EYE)

    def __getitem__(self, index: int) -> int:
        return int(self.collection.mine(EYE[index : index + 1], k=1).ids[0, 0])


def trainer_with_a_loader(method: str, collection: negmine.Collection) -> None:
    from torch.utils.data import DataLoader

    collection.upsert(np.arange(len(EYE)), EYE)
    loader: Any = DataLoader(Corpus(collection), batch_size=3, num_workers=2, multiprocessing_context=method)
    for _ in range(2):
        assert [id_ for batch in loader for id_ in batch.tolist()] == list(range(len(EYE)))
    assert collection.info().rows == len(EYE)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_data_loader_workers_mine(method: str, fresh: negmine.Collection) -> None:
    play(trainer_with_a_loader, method, fresh)
