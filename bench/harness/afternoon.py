"""The afternoon version of an embedding index behind gRPC: what one writes before looking further. Nothing is durable.

Run as a script it serves on a free port, which it prints, one of two:

- `numpy D BITS`: sign codes in a growing array. `/Afternoon/Upsert` takes a stream of messages: n as int64, n ids,
  n x d float32; the answer is the number of rows.
- `faiss ROTATION.npy` (float32 [bits, d]): FAISS `IndexBinaryFlat` under a lock. `/Afternoon/Add` takes n as int64 and
  n codes, or n x d float32; the answer is the number of rows. `/Afternoon/Search` takes k as int64 and B x d float32;
  the answer is int64 [B, k] ids (the order of arrival) and int32 [B, k] distances.

What both lack: durability, versions, groups, deletes, checks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
from numpy.typing import NDArray

BATCH_ROWS = 1024
ADD_ROWS = 100_000
UPSERT, ADD, SEARCH = "/Afternoon/Upsert", "/Afternoon/Add", "/Afternoon/Search"
WORKERS = 4
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


class Searcher:
    """Codes in FAISS; every call waits for the lock, and FAISS then uses every core."""

    def __init__(self, rotation: NDArray[np.float32]) -> None:
        import faiss

        self._rotation = np.ascontiguousarray(rotation.T)
        self._index = faiss.IndexBinaryFlat(len(rotation))
        self._code_bytes = len(rotation) // 8
        self._lock = threading.Lock()

    def add(self, message: bytes, _context: grpc.ServicerContext) -> bytes:
        """Rows behind those that are there."""
        n = int(np.frombuffer(message, np.int64, 1)[0])
        if len(message) == 8 + n * self._code_bytes:
            codes = np.frombuffer(message, np.uint8, -1, 8).reshape(n, -1)
        else:
            codes = self._encode(np.frombuffer(message, np.float32, -1, 8).reshape(n, -1))
        with self._lock:
            self._index.add(codes)
            return str(self._index.ntotal).encode()

    def search(self, message: bytes, _context: grpc.ServicerContext) -> bytes:
        """The k nearest of each anchor."""
        k = int(np.frombuffer(message, np.int64, 1)[0])
        codes = self._encode(np.frombuffer(message, np.float32, -1, 8).reshape(-1, len(self._rotation)))
        with self._lock:
            distances, ids = self._index.search(codes, k)
        return ids.tobytes() + distances.tobytes()

    def _encode(self, vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
        return np.packbits(vectors @ self._rotation >= 0, axis=1, bitorder="little")


class Server:
    """One of them in a process of its own.

    Args:
        arguments: of the script.
    """

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, str(Path(__file__)), *map(str, arguments)]
        # FAISS's threads sleep while there is nothing to search: they share the cores with those that serve.
        environment = os.environ | {"OMP_WAIT_POLICY": "passive"}
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self._process.stdout is not None
        self.target = f"127.0.0.1:{int(self._process.stdout.readline())}"
        self.pid = self._process.pid

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

        with grpc.insecure_channel(self.target, OPTIONS) as channel:
            return int(channel.stream_unary(UPSERT)(messages()))

    def add(self, codes: NDArray[np.uint64]) -> int:
        """Adds codes [n, words]; returns how many it holds."""
        with grpc.insecure_channel(self.target, OPTIONS) as channel:
            call = channel.unary_unary(ADD)
            parts = (codes[first : first + ADD_ROWS] for first in range(0, len(codes), ADD_ROWS))
            return [int(call(np.int64(len(part)).tobytes() + part.tobytes())) for part in parts][-1]

    def search(self, anchors: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Ids and distances [B, k]."""
        with grpc.insecure_channel(self.target, OPTIONS) as channel:
            return answered(channel.unary_unary(SEARCH)(np.int64(k).tobytes() + anchors.tobytes()), k)


def answered(reply: bytes, k: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Ids and distances [B, k] of an answer to Search."""
    anchors = len(reply) // (12 * k)
    ids = np.frombuffer(reply, np.int64, anchors * k).reshape(anchors, k)
    return ids, np.frombuffer(reply, np.int32, -1, ids.nbytes).reshape(anchors, k)


def main(kind: str, *arguments: str) -> None:
    """Serves until killed."""
    methods: dict[str, Any]
    if kind == "numpy":
        index = Index(*map(int, arguments))
        methods = {UPSERT: grpc.stream_unary_rpc_method_handler(index.upsert)}
    else:
        searcher = Searcher(np.load(arguments[0]))
        methods = {ADD: grpc.unary_unary_rpc_method_handler(searcher.add)}
        methods[SEARCH] = grpc.unary_unary_rpc_method_handler(searcher.search)
    server = grpc.server(ThreadPoolExecutor(WORKERS), options=OPTIONS)
    handlers = {path.rpartition("/")[2]: handler for path, handler in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Afternoon", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
