"""A server on simulated devices: what it answers is what one without devices answers, bit for bit; and losing one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from cuda_emulator.emulated import without_compiler
from grpc_health.v1 import health_pb2
from in_process import InProcess
from live_server import LiveServer
from live_wire import TIMEOUT_S, Wire, array, batch, refusal, refusal_of, tensor, vectors
from negmine.encoder import Encoder
from negmine.v1 import collection_pb2, types_pb2
from negmine_server.rpc.health import COLLECTION
from simulated import SimulatedLauncher, simulated, simulated_gpu

pytestmark = without_compiler

ROWS, DIMENSION, BITS = 600, 24, 64
VECTORS = vectors(ROWS, DIMENSION)
ANCHORS = vectors(9, DIMENSION, 1)
ENCODER = Encoder(DIMENSION, BITS, seed=0)
SCORINGS = (types_pb2.SCORING_SYMMETRIC, types_pb2.SCORING_ASYMMETRIC)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def codes_of(rows: np.ndarray) -> types_pb2.Codes:
    made = ENCODER.encode(rows)
    return types_pb2.Codes(
        fingerprint=ENCODER.fingerprint,
        codes=tensor(made.words, "uint64"),
        corrections=tensor(made.corrections, "float32"),
    )


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A server on two devices."""
    folder = tmp_path_factory.mktemp("devices")
    with InProcess(folder, simulated(2), device="cuda") as server, server.wire() as wire:
        yield wire


@pytest.fixture(scope="module")
def host(shared_server: LiveServer) -> Iterator[Wire]:
    """A server without."""
    with shared_server.wire() as wire:
        yield wire


def answer(wire: Wire, name: str, k: int = 10, **fields: Any) -> list[Any]:
    """What a Mine returns, but for times."""
    reply = wire.mine(name, ANCHORS, k, exact=True, return_versions=True, **fields)
    arrays = (reply.ids, reply.scores, reply.counts, reply.steps)
    drops = sorted((drop.reason, drop.count) for drop in reply.drops)
    return [*(array(each).tolist() for each in arrays), drops, list(reply.outcomes)]


def fill(wire: Wire, name: str, **spec: Any) -> None:
    """Items with groups and tags, some overwritten, some deleted."""
    wire.create(name, dimension=DIMENSION, bits=BITS, **spec)
    made = {"groups": np.arange(ROWS) % 7, "tags": np.arange(ROWS) % 5}
    if spec.get("vectors"):
        wire.upsert(name, batch(range(ROWS), VECTORS, step=1, **made))
    else:
        wire.upsert(name, batch(range(ROWS), codes=codes_of(VECTORS), step=1, **made))
        wire.upsert(name, batch(range(50, 90), codes=codes_of(VECTORS[:40]), step=2))
    wire.delete(name, range(100, 120))


FILTERED = {
    "groups": tensor(np.arange(9) % 7, "int64"),
    "forbid_tags": tensor([2], "uint64"),
    "min_step": 1,
    "own_ids": tensor(range(9), "int64"),
}


@pytest.mark.parametrize("scoring", SCORINGS)
@pytest.mark.parametrize("shards", [1, 4])
def test_answers_are_those_of_a_server_without_devices(devices: Wire, host: Wire, shards: int, scoring: int) -> None:
    name = f"codes-{shards}-{scoring}"
    for wire in (devices, host):
        fill(wire, name, shards=shards)
    for fields in ({}, FILTERED, {"min_step": 2}):
        assert answer(devices, name, scoring=scoring, **fields) == answer(host, name, scoring=scoring, **fields)


@pytest.mark.parametrize("metric", [types_pb2.METRIC_COSINE, types_pb2.METRIC_INNER_PRODUCT])
@pytest.mark.parametrize("store", [types_pb2.VECTOR_STORE_INT8, types_pb2.VECTOR_STORE_FLOAT32])
def test_embeddings_are_encoded_and_rescored_as_without_devices(
    devices: Wire, host: Wire, store: int, metric: int
) -> None:
    """Corrections are sums that each device rounds in its own way: they order candidates, all of which are rescored."""
    name = f"vectors-{store}-{metric}"
    for wire in (devices, host):
        fill(wire, name, shards=2, vectors=store, metric=metric)
    for fields in (
        {"scoring": types_pb2.SCORING_SYMMETRIC, "rescore": False},
        {"scoring": types_pb2.SCORING_SYMMETRIC},
        {"scoring": types_pb2.SCORING_ASYMMETRIC, "pool": 2 * ROWS},
        {"scoring": types_pb2.SCORING_FLOAT, **FILTERED},
    ):
        assert answer(devices, name, **fields) == answer(host, name, **fields)
    made, wanted = (wire.fetch(name, range(ROWS), return_codes=True).codes for wire in (devices, host))
    assert made.codes == wanted.codes
    np.testing.assert_allclose(array(made.corrections), array(wanted.corrections), rtol=1e-6)


def test_a_restart_and_another_number_of_devices_change_nothing(tmp_path: Path) -> None:
    with InProcess(tmp_path, simulated(1), device="cuda") as server, server.wire() as wire:
        fill(wire, "kept", shards=2)
        before = answer(wire, "kept")
        assert backend(wire) == "cuda (simulated: b1, int8)"
    with InProcess(tmp_path, simulated(3), device="cuda", default_shards=0) as server, server.wire() as wire:
        assert answer(wire, "kept") == before
        assert backend(wire) == "cuda (simulated ×3: b1, int8)"
        wire.create("new", dimension=DIMENSION, bits=BITS)
        assert wire.get("new").spec.shards == 4, "the number of devices, to a power of two"


def test_a_lost_device_takes_its_collections_along_and_a_restart_brings_them_back(tmp_path: Path) -> None:
    broken = BreakingLauncher()
    gpus = [simulated_gpu("simulated:0", broken), simulated_gpu("simulated:1")]
    with InProcess(tmp_path, lambda _: gpus, device="cuda") as server, server.wire() as wire:
        for name in ("hit", "spared"):
            fill(wire, name, shards=1)
        before = answer(wire, "hit")
        watch = wire.health.Watch(health_pb2.HealthCheckRequest(service=COLLECTION + "hit"), timeout=TIMEOUT_S)
        assert next(watch).status == SERVING
        broken.broken = True
        refused = refusal(lambda: wire.mine("hit", ANCHORS, 10))
        assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DEVICE_LOST")
        assert next(watch).status == NOT_SERVING
        assert wire.get("hit").state == collection_pb2.SERVING_STATE_FAILED
        assert [health(wire, service) for service in ("", COLLECTION + "hit")] == [NOT_SERVING] * 2
        assert [health(wire, service) for service in ("negmine.v1.MiningService", COLLECTION + "spared")] == [
            SERVING
        ] * 2
        assert answer(wire, "spared") == before
        wire.upsert("spared", batch([ROWS], codes=codes_of(VECTORS[:1]), step=3))
        refused = refusal(lambda: wire.upsert("hit", batch([ROWS], codes=codes_of(VECTORS[:1]), step=3)))
        assert refused.reason == "DEVICE_LOST"
        wire.create("after", dimension=DIMENSION, bits=BITS, shards=2)
        wire.upsert("after", batch([1], codes=codes_of(VECTORS[:1])))
        assert array(wire.mine("after", ANCHORS[:1], 1).ids).tolist() == [[1]]
    with InProcess(tmp_path, simulated(2), device="cuda") as server, server.wire() as wire:
        assert answer(wire, "hit") == before
        assert wire.found("spared", [ROWS]) == [ROWS]
        assert health(wire, "") == SERVING


def test_a_full_device_refuses_upserts_and_keeps_what_it_has(tmp_path: Path) -> None:
    with (
        InProcess(tmp_path, simulated(1), device="cuda", device_memory=0.02) as server,
        server.wire() as wire,
    ):
        wire.create("full", dimension=DIMENSION, bits=4096, shards=1)
        acked, refused = 0, None
        for first in range(0, 200_000, 1000):
            rows = np.arange(first, first + 1000)
            try:
                wire.upsert("full", batch(rows, vectors(1000, DIMENSION, first), step=1))
            except grpc.RpcError as error:
                refused = refusal_of(error)
                break
            acked += 1000
        assert refused is not None
        assert (refused.code, refused.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DEVICE_FULL")
        assert wire.get("full").rows == acked
        assert health(wire, COLLECTION + "full") == SERVING


class BreakingLauncher(SimulatedLauncher):
    """Launches nothing any more once it is broken."""

    broken = False

    def launch(self, *arguments: Any) -> None:
        if self.broken:
            raise RuntimeError("CUDA error: unspecified launch failure")
        super().launch(*arguments)


def health(wire: Wire, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return wire.health.Check(request, timeout=TIMEOUT_S).status


def backend(wire: Wire) -> str:
    info = wire.collections.GetServerInfo(collection_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S)
    return info.backend
