"""Upsert streams that go wrong: no start, callers who vanish, windows, and what is whole afterwards."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable

import grpc
import pytest
from live_server import LiveServer
from live_wire import Wire, array, batch, mining, refusal, upserts, vectors
from negmine.v1 import collection_pb2
from negmine.v1 import index_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("first", [[], [pb.UpsertRequest()], [pb.UpsertRequest(batch=batch([1], vectors(1, 8)))]])
def test_a_stream_begins_with_its_start(wire: Wire, first: list[pb.UpsertRequest]) -> None:
    refused = refusal(lambda: list(wire.stream(first)))
    assert (refused.code, refused.field) == (INVALID, "start")


def test_after_start_come_batches(wire: Wire) -> None:
    name = wire.create()
    refused = refusal(lambda: list(wire.stream(upserts(name) * 2)))
    assert (refused.code, refused.field) == (INVALID, "batch")


def test_a_start_is_checked(wire: Wire) -> None:
    unknown = refusal(lambda: list(wire.stream(upserts("nothing"))))
    assert (unknown.code, unknown.field) == (grpc.StatusCode.NOT_FOUND, "collection")
    long = refusal(lambda: list(wire.stream(upserts(wire.create(), writer="w" * 65))))
    assert (long.code, long.field) == (INVALID, "start.writer_id")
    assert "65" in long.message


def test_a_collection_dropped_under_a_stream_ends_it(wire: Wire) -> None:
    name = wire.create()
    requests: queue.SimpleQueue[pb.UpsertRequest | None] = queue.SimpleQueue()
    answers = wire.stream(iter(requests.get, None))
    for request in upserts(name, batch([1], vectors(1, 8))):
        requests.put(request)
    assert [next(answers).WhichOneof("message") for _ in range(2)] == ["ready", "ack"]
    wire.collections.DropCollection(collection_pb2.DropCollectionRequest(collection=name))
    wire.create(name)
    requests.put(pb.UpsertRequest(batch=batch([2], vectors(1, 8))))
    refused = refusal(lambda: list(answers))
    requests.put(None)
    assert refused.code is grpc.StatusCode.NOT_FOUND
    assert wire.get(name).rows == 0


def test_a_caller_who_cancels_leaves_whole_batches(wire: Wire) -> None:
    name = wire.create(shards=4)
    requests: queue.SimpleQueue[pb.UpsertRequest | None] = queue.SimpleQueue()
    answers = wire.stream(iter(requests.get, None))
    sent = [batch(range(100 * n, 100 * n + 100), vectors(100, 8, n), number=n + 1) for n in range(12)]
    for request in upserts(name, *sent, writer="w"):
        requests.put(request)
    acked = [next(answers) for _ in range(4)][1:]
    answers.cancel()
    requests.put(None)
    assert [answer.ack.number for answer in acked] == [1, 2, 3]
    again = wire.upsert(name, *sent, writer="w")  # its numbers tell which batches were in already
    assert [ack.number for ack in again] == list(range(1, 13))
    assert all(ack.duplicate for ack in again[:3])
    assert wire.get(name).rows == 1200
    for ack in again:
        assert ack.duplicate or ack.inserted + ack.overwritten == 100


CALLER = """
    import sys
    sys.path[:0] = {path!r}
    from live_wire import Wire, batch, upserts, vectors

    wire = Wire({port})
    sent = (batch([n], vectors(1, 8), number=n + 1) for n in range(5000))
    answers = wire.stream(upserts({name!r}, *sent, writer="w"))
    next(answers)
    for number, answer in enumerate(answers):
        print(answer.ack.number, flush=True)
"""


def test_a_caller_that_is_killed_leaves_what_was_acked(wire: Wire, shared_server: LiveServer) -> None:
    name = wire.create()
    code = textwrap.dedent(CALLER).format(path=sys.path, port=shared_server.port, name=name)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        acked = [int(next(caller.stdout)) for _ in range(20)]
        caller.send_signal(signal.SIGKILL)
        acked += [int(line) for line in caller.stdout if line.endswith("\n")]
    assert acked == list(range(1, len(acked) + 1))
    assert wire.found(name, range(len(acked))) == list(range(len(acked)))
    rows = wire.get(name).rows
    assert wire.upsert(name, batch([rows - 1], vectors(1, 8), number=rows), writer="w")[0].duplicate


def test_acks_hold_across_a_kill_of_the_server(start: Callable[..., LiveServer]) -> None:
    server = start(default_shards=2)
    with server.wire() as wire:
        name = wire.create()
        acks = wire.upsert(name, *(batch([n], vectors(1, 8, n), number=n + 1) for n in range(30)), writer="w")
        asked = mining(name, vectors(5, 8, 99), 10)
        before = wire.mining.Mine(asked, timeout=30)
    server.kill()
    server.start()
    with server.wire() as wire:
        assert wire.found(name, range(30)) == list(range(30))
        after = wire.mining.Mine(asked, timeout=30)
        assert (after.ids, after.scores) == (before.ids, before.scores)
        reply = wire.fetch(name, [1], min_watermark=acks[-1].watermark)
        assert array(reply.found).tolist() == [1]
        assert wire.upsert(name, batch([29], vectors(1, 8), number=30), writer="w")[0].duplicate
