"""Clients in forked, spawned and pickled places, as DataLoader workers are."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import BaseContext
from typing import Any

import negmine
import numpy as np
import pytest


def work(collection: negmine.Collection, answers: Any) -> None:
    """In a child: reads, writes and mines over a channel of its own."""
    try:
        vector = np.random.default_rng(os.getpid()).standard_normal((1, 16)).astype(np.float32)
        collection.upsert([os.getpid()], vector)
        found = collection.mine(vector, k=1, exclude_same_group=False)
        answers.put((os.getpid(), int(found.ids[0, 0])))
    except BaseException as error:
        answers.put((os.getpid(), repr(error)))
        raise


def run(context: BaseContext, collection: negmine.Collection, children: int) -> None:
    answers = context.Queue()
    processes = [context.Process(target=work, args=(collection, answers)) for _ in range(children)]  # type: ignore[attr-defined]
    for process in processes:
        process.start()
    got = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert sorted(got) == sorted((process.pid, process.pid) for process in processes)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_work_and_the_parent_goes_on(method: str, fresh: negmine.Collection) -> None:
    fresh.upsert(np.arange(3), np.eye(3, 16, dtype=np.float32))  # the channel is open before the fork
    run(multiprocessing.get_context(method), fresh, children=2)
    assert fresh.info().rows == 5


def test_a_fork_in_the_middle_of_a_stream_harms_neither(fresh: negmine.Collection) -> None:
    with fresh.writer() as writer:
        writer.send([1], np.eye(1, 16, dtype=np.float32))
        writer.flush()
        run(multiprocessing.get_context("fork"), fresh, children=3)
        writer.send([2], np.eye(1, 16, dtype=np.float32))
    assert writer.result.rows == 2
    assert fresh.info().rows == 5


def abandon(client: negmine.Client) -> None:
    """In a forked child: drops and closes what the parent opened, which must not be touched."""
    import gc

    inherited = dict(client._connections._by_process)
    assert len(inherited) == 1
    client.close()
    del client, inherited
    gc.collect()


def test_a_child_that_closes_leaves_the_parents_channel_alone(live: negmine.Client) -> None:
    live.server_info()
    process = multiprocessing.get_context("fork").Process(target=abandon, args=(live,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert live.server_info().backend


class Corpus:
    """A map-style dataset whose items mine for themselves."""

    def __init__(self, collection: negmine.Collection) -> None:
        self.collection = collection

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        anchor = np.eye(12, 16, k=0, dtype=np.float32)[index : index + 1]
        return int(self.collection.mine(anchor, k=1).ids[0, 0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_data_loader_workers_mine(method: str, fresh: negmine.Collection) -> None:
    data = pytest.importorskip("torch.utils.data", reason="torch is not installed")
    fresh.upsert(np.arange(12), np.eye(12, 16, dtype=np.float32))
    loader = data.DataLoader(Corpus(fresh), batch_size=3, num_workers=2, multiprocessing_context=method)
    assert [id_ for batch in loader for id_ in batch.tolist()] == list(range(12))
