"""The afternoon version of an embedding index behind gRPC: sign codes in a growing numpy array, nothing durable.

Run as a script it serves `/Afternoon/Upsert` (a stream of messages: n as int64, n ids, n x d float32; the answer is the
number of rows) on a free port, which it prints. What it lacks: durability, versions, groups, deletes, checks.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import grpc
import numpy as np
from numpy.typing import NDArray

BATCH_ROWS = 1024
METHOD = "/Afternoon/Upsert"
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20)]


class Index:
    """Rows in the order of arrival; a dictionary says where each id is."""

    def __init__(self, dimension: int, bits: int) -> None:
        random = np.random.default_rng(0)
        self._rotation = np.linalg.qr(random.standard_normal((dimension, bits)))[0].astype(np.float32)
        self._codes = np.empty((1024, bits // 8), np.uint8)
        self._rows: dict[int, int] = {}

    def upsert(self, messages: Iterator[bytes], _context: grpc.ServicerContext) -> bytes:
        """One stream."""
        for message in messages:
            n = int(np.frombuffer(message, np.int64, 1)[0])
            ids = np.frombuffer(message, np.int64, n, 8).tolist()
            vectors = np.frombuffer(message, np.float32, -1, 8 + 8 * n).reshape(n, -1)
            codes = np.packbits(vectors @ self._rotation >= 0, axis=1)
            for id_ in ids:
                self._rows.setdefault(id_, len(self._rows))
            while len(self._codes) < len(self._rows):
                self._codes = np.concatenate([self._codes, np.empty_like(self._codes)])
            self._codes[[self._rows[id_] for id_ in ids]] = codes
        return str(len(self._rows)).encode()


class Server:
    """It in a process of its own."""

    def __init__(self, dimension: int, bits: int) -> None:
        command = [sys.executable, str(Path(__file__)), str(dimension), str(bits)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._target = f"127.0.0.1:{int(self._process.stdout.readline())}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def upsert(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> int:
        """Streams rows in; returns how many it holds."""

        def messages() -> Iterator[bytes]:
            for first in range(0, len(ids), BATCH_ROWS):
                part = slice(first, first + BATCH_ROWS)
                yield np.int64(len(ids[part])).tobytes() + ids[part].tobytes() + vectors[part].tobytes()

        with grpc.insecure_channel(self._target, OPTIONS) as channel:
            return int(channel.stream_unary(METHOD)(messages()))


def main(dimension: int, bits: int) -> None:
    """Serves until killed."""
    index = Index(dimension, bits)
    handler = grpc.stream_unary_rpc_method_handler(index.upsert)
    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Afternoon", {"Upsert": handler}),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
