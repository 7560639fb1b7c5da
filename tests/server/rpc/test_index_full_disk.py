"""A data folder without room: upserts are refused with the reason, mines go on, and room is all it takes to go on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import grpc
from live_server import LiveServer
from live_wire import array, batch, refusal, vectors
from negmine.v1 import types_pb2


def fill(ballast: Path) -> None:
    """Takes all the room there is."""
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_without_room_nothing_is_half_applied_and_mines_go_on(
    small_disk: Path, start: Callable[..., LiveServer]
) -> None:
    server = start(small_disk / "data", default_shards=2)
    ballast = small_disk / "ballast"
    with server.wire() as wire:
        name = wire.create()
        wire.upsert(name, batch(range(100), vectors(100, 8), number=1), writer="w")
        fill(ballast)
        for _ in range(3):
            full = refusal(lambda: wire.upsert(name, batch(range(100, 1100), vectors(1000, 8), number=2), writer="w"))
            assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORAGE_FULL")
            assert refusal(lambda: wire.delete(name, range(50))).reason == "STORAGE_FULL"
            assert refusal(wire.create).reason == "STORAGE_FULL"
            assert array(wire.mine(name, vectors(3, 8), 5).counts).tolist() == [5, 5, 5]
            assert wire.get(name).rows == 100
            assert wire.found(name, [0, 99, 100, 1099]) == [0, 99]
        ballast.unlink()
        acks = wire.upsert(name, *(batch(range(100 * n, 100 * n + 100), vectors(100, 8, n), number=n + 1)
                                   for n in range(5)), writer="w")  # fmt: skip
        assert [(ack.duplicate, ack.inserted) for ack in acks] == [(True, 0), *[(False, 100)] * 4]
        assert wire.delete(name, range(50)).deleted == 50
        wire.check_serving()
    assert server.stop() == 0
    server.start()
    with server.wire() as wire:
        assert wire.get(name).rows == 450
        assert wire.found(name, [0, 49, 50, 499, 500]) == [50, 499]


def test_without_room_for_vectors_what_is_durable_waits_for_it(
    small_disk: Path, start: Callable[..., LiveServer]
) -> None:
    settings = {"default_shards": 1, "vectors_in": "disk"}
    server = start(small_disk / "data", **settings)
    ballast = small_disk / "ballast"
    with server.wire() as wire:
        name = wire.create(vectors=types_pb2.VECTOR_STORE_INT8)
        fill(ballast)
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - (128 << 10))  # enough for the log, not for a page of vectors
        for _ in range(2):
            full = refusal(lambda: wire.upsert(name, batch(range(100), vectors(100, 8), number=1), writer="w"))
            assert full.reason in {"STORAGE_FAILED", "STORAGE_FULL"}
            assert (wire.get(name).rows, wire.found(name, [0])) == (0, [])
        ballast.unlink()
        acks = wire.upsert(name, batch(range(100), vectors(100, 8), number=1), batch([7], vectors(1, 8, 1), number=2),
                           writer="w")  # fmt: skip
        assert [(ack.duplicate, ack.overwritten) for ack in acks] == [(True, 0), (False, 1)]
        best = wire.mine(name, vectors(100, 8), 5)
        wire.check_serving()
    server.kill()
    server.start()
    with server.wire() as wire:
        assert wire.get(name).rows == 100
        again = wire.mine(name, vectors(100, 8), 5)
        assert (again.ids.data, again.scores.data) == (best.ids.data, best.scores.data)
