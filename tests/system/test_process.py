"""The server as a process: what it does with SIGTERM, with a folder that is held, with an address that is taken."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import grpc
import negmine
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from negmine.v1 import index_pb2 as pb
from negmine.v1 import index_pb2_grpc
from promises import BITS, DIMENSION, Operation, embeddings
from server_process import ServerProcess
from writers import batch

DRAIN_S = 8.0
SLACK_S = 6.0  # of a busy machine
ROWS = 20_000
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class HealthWatch(threading.Thread):
    """Notes each health state and when it came."""

    def __init__(self, target: str) -> None:
        super().__init__(daemon=True)
        self._channel = grpc.insecure_channel(target)
        self.states: list[tuple[float, int]] = []
        self.seen = threading.Event()
        self.start()
        assert self.seen.wait(30)

    def run(self) -> None:
        try:
            for response in health_pb2_grpc.HealthStub(self._channel).Watch(health_pb2.HealthCheckRequest()):
                self.states.append((time.monotonic(), response.status))
                self.seen.set()
        except grpc.RpcError:
            pass  # the server ended


@pytest.fixture
def server(tmp_path: Path):
    with ServerProcess(tmp_path, "--drain-s", str(DRAIN_S)) as running:
        running.start()
        yield running


def fill(client: negmine.Client) -> negmine.Collection:
    collection = client.create_collection("c", DIMENSION, bits=BITS, vectors="float32")
    ids = np.arange(ROWS)
    collection.upsert(ids, embeddings(ids, 1), step=1)
    return collection


def test_sigterm_lets_a_mine_finish(server: ServerProcess) -> None:
    anchors = embeddings(np.arange(1024), 2)
    with negmine.Client(server.target) as client, ThreadPoolExecutor(1) as pool:
        collection = fill(client)
        watch = HealthWatch(server.target)
        asked = pool.submit(lambda: (collection.mine(anchors, 50, scoring="float"), time.monotonic()))
        await_open_rpc(server, "Mine")
        began = time.monotonic()
        server.terminate()
        negatives, ended = asked.result(30)
        assert (np.asarray(negatives.counts) == 50).all()
        assert server.wait(DRAIN_S + SLACK_S) == 0, server.output
        assert time.monotonic() - began < DRAIN_S + SLACK_S
    assert [state for _, state in watch.states] == [SERVING, NOT_SERVING]
    assert began <= watch.states[1][0] <= ended, "the health turned after the call had ended"


def test_sigterm_lets_batches_be_acked(server: ServerProcess) -> None:
    with negmine.Client(server.target) as client:
        fill(client)
        watch = HealthWatch(server.target)
        steps = range(10, 22)
        acked: list[int] = []
        with grpc.insecure_channel(server.target) as channel:
            call = index_pb2_grpc.IndexServiceStub(channel).Upsert(requests(steps))
            assert next(call).WhichOneof("message") == "ready"
            acked.append(next(call).ack.number)
            server.terminate()
            began = time.monotonic()
            with suppress(grpc.RpcError):
                acked += [response.ack.number for response in call]
            assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
        assert server.wait(DRAIN_S + SLACK_S) == 0, server.output
        assert time.monotonic() - began < DRAIN_S + SLACK_S
    assert [state for _, state in watch.states] == [SERVING, NOT_SERVING]
    assert acked == list(range(1, len(acked) + 1))
    server.start()
    with negmine.Client(server.target) as client:
        found = client.collection("c").fetch(np.array(steps[: len(acked)]) * 100_000)
        assert found.found.all()


def requests(steps: range):
    """A stream of one batch a step."""
    yield pb.UpsertRequest(start=pb.UpsertStart(collection="c", writer_id="w"))
    for number, step in enumerate(steps, 1):
        ids = np.arange(200) + step * 100_000
        yield pb.UpsertRequest(batch=batch(number, Operation(step, ids, deletes=False)))


def test_an_idle_stream_does_not_keep_the_server(server: ServerProcess) -> None:
    with negmine.Client(server.target) as client:
        collection = fill(client)
        writer = collection.writer()
        ids = np.arange(100)
        writer.send(ids, embeddings(ids, 2), step=2)
        writer.flush()
        began = time.monotonic()
        server.terminate()
        assert server.wait(DRAIN_S) == 0, server.output
        assert time.monotonic() - began < DRAIN_S, "the drain waited for a stream that had nothing to say"
        writer.cancel()


def test_a_signal_during_the_start_ends_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.spawn()
        while "kernels ready" not in server.output and not server.serving:
            time.sleep(0.01)
        server.terminate()
        assert server.wait() == 0, server.output


def test_a_held_folder_is_refused(server: ServerProcess, tmp_path: Path) -> None:
    other = ServerProcess(tmp_path / "other")
    (tmp_path / "other").mkdir()
    other.data = server.data
    with other:
        other.spawn()
        assert other.wait() == 1
    assert other.output == f"negmine-server: data folder {str(server.data)!r} is held by another server\n"
    with negmine.Client(server.target) as client:
        fill(client)  # it was not disturbed


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    (tmp_path / "file").touch()
    server.data = tmp_path / "file" / "data"
    server.spawn()
    assert server.wait() == 1
    assert f"data folder {str(server.data)!r} cannot be used" in server.output


@pytest.mark.parametrize("which", ["listen", "metrics-listen"])
def test_a_taken_address_is_refused(tmp_path: Path, which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ServerProcess(tmp_path) as server:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        server.spawn(f"--{which}", address)
        assert server.wait() == 1
        assert f"negmine-server: cannot listen on {address!r}" in server.output
        assert "Traceback" not in server.output


def await_open_rpc(server: ServerProcess, method: str) -> None:
    """Waits until the server counts the call among those it serves."""
    for _ in range(3000):
        if f'negmine_open_rpcs{{method="{method}"}} 1.0' in server.metrics():
            return
        time.sleep(0.01)
    raise AssertionError(f"no {method} was seen")
