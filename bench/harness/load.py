"""Load on a server from a process of its own: Mine calls in a closed or an open loop, or upserts at a rate.

Run as a script with a folder that holds `anchors.npy` and `corpus.npy` (float32 [n, d]), it reads one command a line,
as JSON, and answers each with a line. All its clients are tasks of one asyncio loop with a channel each; the channels
of a process may share a connection. Latencies of an open loop count from the scheduled arrival: a slow call does not
excuse those that it holds up.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import grpc
import negmine
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
TICK_S = 0.05  # between upsert batches
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Command:
    """What a load process does next.

    Attributes:
        do: "closed", "paced" (a call every 1 / rate s), "poisson" (random arrivals), or "upsert" until `stop`.
        kind: of the server: "negmine" or "faiss".
        seconds: how long new calls are made; those on their way are waited for.
        rate: calls, or rows, a second.
        form: what is upserted: "float" or "code" (encoded in the load process).
        rows: ids that are upserted are below.
        exact: whether every row is scanned, else what the collection's recall target asks for.
    """

    do: str
    kind: str
    target: str
    collection: str = ""
    seconds: float = 1.0
    clients: int = 1
    anchors: int = 1
    k: int = 16
    rate: float = 0.0
    form: str = "float"
    rows: int = 0
    exact: bool = True


@dataclass(frozen=True)
class Answer:
    """What came of it; `calls` are upsert batches where it upserted.

    Attributes:
        seconds: from the first call to the last answer.
        cpu_s: of the load process.
        latencies_ms: of each call, in order of arrival.
        rows: acked.
    """

    seconds: float
    cpu_s: float
    latencies_ms: list[float]
    rows: int = 0


class Load:
    """A load process.

    Args:
        folder: of the arrays.
    """

    def __init__(self, folder: Path) -> None:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__)), str(folder)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def begin(self, command: Command) -> None:
        """Hands a command over."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(vars(command)) + "\n")
        self._process.stdin.flush()

    def end(self) -> Answer:
        """Waits for the answer to the command handed over."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load process ended; what it wrote says why")
        return Answer(**json.loads(line))

    def stop(self) -> Answer:
        """Ends upserts."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.end()

    def run(self, command: Command) -> Answer:
        """A command and its answer."""
        self.begin(command)
        return self.end()


Call = Callable[[F32], Awaitable[int]]  # anchors to the number of negatives


class Generator:
    """The load process's side."""

    def __init__(self, folder: Path) -> None:
        self._anchors = np.load(folder / "anchors.npy")
        self._corpus = np.load(folder / "corpus.npy", mmap_mode="r")
        self._random = np.random.default_rng(0)

    async def serve(self) -> None:
        """Until stdin ends."""
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = Command(**json.loads(line))
            cpu_s = time.process_time()
            if command.do == "upsert":
                stop = threading.Event()
                upserting = asyncio.create_task(asyncio.to_thread(self._upsert, command, stop))
                await asyncio.to_thread(sys.stdin.readline)
                stop.set()
                seconds, latencies, rows = await upserting
            else:
                seconds, latencies = await self._mine(command)
                rows = 0
            answer = Answer(seconds, time.process_time() - cpu_s, latencies, rows)
            print(json.dumps({field.name: getattr(answer, field.name) for field in fields(answer)}), flush=True)

    async def _mine(self, command: Command) -> tuple[float, list[float]]:
        calls, close = (ours if command.kind == "negmine" else theirs)(command)
        try:
            for call in calls:  # connects
                await call(self._anchors[:1])
            await calls[0](self._pick(command.anchors))
            if command.do == "closed":
                return await self._closed(command, calls)
            return await self._open(command, calls)
        finally:
            await close()

    async def _closed(self, command: Command, calls: list[Call]) -> tuple[float, list[float]]:
        latencies: list[float] = []
        begin = time.perf_counter()

        async def client(call: Call) -> None:
            now = time.perf_counter()
            while now < begin + command.seconds:
                anchors = self._pick(command.anchors)
                at = time.perf_counter()
                await checked(call, anchors, command.k)
                now = time.perf_counter()
                latencies.append((now - at) * 1e3)

        await asyncio.gather(*map(client, calls))
        return time.perf_counter() - begin, latencies

    async def _open(self, command: Command, calls: list[Call]) -> tuple[float, list[float]]:
        arrivals = np.arange(0, command.seconds, 1 / command.rate)
        if command.do == "poisson":
            arrivals = np.cumsum(self._random.exponential(1 / command.rate, len(arrivals)))
        picked = [self._pick(command.anchors) for _ in range(min(len(arrivals), 256))]
        begin = time.perf_counter()

        async def arrive(number: int, at: float) -> float:
            await checked(calls[number % len(calls)], picked[number % len(picked)], command.k)
            return (time.perf_counter() - begin - at) * 1e3

        tasks = []
        for number, at in enumerate(arrivals.tolist()):
            await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
            tasks.append(asyncio.create_task(arrive(number, at)))
        latencies = await asyncio.gather(*tasks)
        return time.perf_counter() - begin, list(latencies)

    def _pick(self, anchors: int) -> F32:
        first = int(self._random.integers(0, len(self._anchors) - anchors + 1))
        return self._anchors[first : first + anchors]

    def _upsert(self, command: Command, stop: threading.Event) -> tuple[float, list[float], int]:
        """Batches of rows, each with its place in time; a batch that is late does not move the next."""
        sender = send_ours if command.kind == "negmine" else send_theirs
        order = self._random.permutation(command.rows)
        batch = max(1, min(int(command.rate * TICK_S), len(order)))
        latencies: list[float] = []
        begin = time.perf_counter()

        def batches() -> Iterator[tuple[NDArray[np.int64], F32]]:
            for number in itertools.count():
                at = begin + number * TICK_S
                if stop.wait(max(0.0, at - time.perf_counter())):
                    return
                ids = order.take(np.arange(number * batch, (number + 1) * batch), mode="wrap")
                yield ids, self._corpus[ids % len(self._corpus)]
                latencies.append((time.perf_counter() - at) * 1e3)

        rows = sender(command, batches())
        return time.perf_counter() - begin, latencies, rows


async def checked(call: Call, anchors: F32, k: int) -> None:
    """One call; raises where it came back with less than was asked for."""
    found = await call(anchors)
    if found != len(anchors) * k:
        raise RuntimeError(f"{found} negatives for {len(anchors)} anchors; expected {k} each")


def ours(command: Command) -> tuple[list[Call], Callable[[], Awaitable[None]]]:
    """A call for each client through the SDK, and what closes them."""
    clients = [negmine.AsyncClient(command.target, timeout_s=TIMEOUT_S) for _ in range(command.clients)]

    def call_of(client: negmine.AsyncClient) -> Call:
        collection = client.collection(command.collection)

        async def call(anchors: F32) -> int:
            accuracy: dict[str, Any] = {"exact": True} if command.exact else {}
            return int((await collection.mine(anchors, command.k, scoring="symmetric", **accuracy)).counts.sum())

        return call

    async def close() -> None:
        await asyncio.gather(*(client.close() for client in clients))

    return [call_of(client) for client in clients], close


def theirs(command: Command) -> tuple[list[Call], Callable[[], Awaitable[None]]]:
    """A call for each client to the afternoon version, and what closes them."""
    import afternoon

    channels = [grpc.aio.insecure_channel(command.target, afternoon.OPTIONS) for _ in range(command.clients)]

    def call_of(channel: grpc.aio.Channel) -> Call:
        method = channel.unary_unary(afternoon.SEARCH)

        async def call(anchors: F32) -> int:
            reply = await method(np.int64(command.k).tobytes() + anchors.tobytes())
            return int(afternoon.answered(reply, command.k)[0].size)

        return call

    async def close() -> None:
        await asyncio.gather(*(channel.close() for channel in channels))

    return [call_of(channel) for channel in channels], close


def send_ours(command: Command, batches: Iterator[tuple[NDArray[np.int64], F32]]) -> int:
    """Streams batches through the SDK's writer; rows acked."""
    with negmine.Client(command.target, timeout_s=TIMEOUT_S) as client:
        collection = client.collection(command.collection)
        encoder = collection.encoder() if command.form == "code" else None
        with collection.writer() as writer:
            for ids, rows in batches:
                writer.send(ids, rows if encoder is None else encoder.encode(rows))
            result = writer.flush()
            return result.inserted + result.overwritten


def send_theirs(command: Command, batches: Iterator[tuple[NDArray[np.int64], F32]]) -> int:
    """Adds batches to the afternoon version; rows added."""
    import afternoon

    sent = 0
    with grpc.insecure_channel(command.target, afternoon.OPTIONS) as channel:
        add = channel.unary_unary(afternoon.ADD)
        for ids, rows in batches:
            add(np.int64(len(ids)).tobytes() + rows.tobytes())
            sent += len(ids)
    return sent


if __name__ == "__main__":
    asyncio.run(Generator(Path(sys.argv[1])).serve())
