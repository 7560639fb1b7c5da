"""The whole process: health, drain, restarts, one server a folder, and metrics that Prometheus can read."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from live_server import LiveServer
from live_wire import TIMEOUT_S, Wire, batch, mining, refusal, tensor, vectors
from negmine.v1 import types_pb2
from prometheus_client.parser import text_string_to_metric_families


def run(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "negmine_server", f"--data-dir={folder}", "--listen=127.0.0.1:0", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_it_starts_tells_its_ports_drains_and_starts_again(start: Callable[..., LiveServer], tmp_path: Path) -> None:
    ports = tmp_path / "ports.json"
    server = start(ports_file=ports)
    with server.wire() as wire:
        name = wire.create("kept", shards=4)
        wire.upsert(name, batch(range(50), vectors(50, 8)))
        asked = mining(name, vectors(5, 8, 1), 7)
        before = wire.mining.Mine(asked, timeout=TIMEOUT_S)
    server.restart()
    with server.wire() as wire:
        wire.check_serving()
        after = wire.mining.Mine(asked, timeout=TIMEOUT_S)
        assert (after.ids, after.scores) == (before.ids, before.scores)
        second = run(server.data_dir, "--metrics-listen=127.0.0.1:0")
        assert second.returncode == 1
        assert "held by another server" in second.stderr
        taken = run(tmp_path / "other", f"--metrics-listen=127.0.0.1:{server.metrics_port}")
        assert taken.returncode == 1
        assert str(server.metrics_port) in taken.stderr
    assert server.stop() == 0
    assert json.loads(ports.read_text()) == {"grpc": server.port, "metrics": server.metrics_port}
    assert not any("Traceback" in line for line in server.lines)


def test_what_cannot_start_says_why_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cases = (
        (tmp_path / "file", [], 1, "cannot be used"),
        (tmp_path, ["--k-max=0"], 2, "k_max"),
        (tmp_path, ["--listen=nonsense:x"], 2, "nonsense:x"),
        (tmp_path, ["--listen=no.such.host.invalid:1"], 1, "no.such.host.invalid:1"),
        (tmp_path, ["--tls-key=gone.pem", "--tls-certificate=gone.pem"], 1, "TLS key 'gone.pem' cannot be read"),
    )
    for folder, flags, code, said in cases:
        ended = run(folder, "--metrics-listen=127.0.0.1:0", *flags)
        assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
        assert said in ended.stderr


def test_a_device_that_is_not_there_ends_the_start(tmp_path: Path) -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("there is a device")
    ended = run(tmp_path, "--metrics-listen=127.0.0.1:0", "--device=cuda", "--devices=0,1")
    assert ended.returncode == 1
    assert "--device cuda" in ended.stderr
    assert "--device cpu" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_corrupt_catalog_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "000000000001").write_text("{")
    ended = run(tmp_path, "--metrics-listen=127.0.0.1:0")
    assert ended.returncode == 1
    assert "catalog/000000000001 is corrupt" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_reflection_lists_the_services(wire: Wire) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (reply,) = stub.ServerReflectionInfo(iter([request]), timeout=TIMEOUT_S)
    names = {service.name for service in reply.list_services_response.service}
    assert {"negmine.v1.MiningService", "negmine.v1.IndexService", "negmine.v1.CollectionService"} <= names
    assert "grpc.health.v1.Health" in names


EXPECTED = {
    "negmine_rpc_seconds": {"method", "code"},
    "negmine_stage_seconds": {"stage"},
    "negmine_queue_anchors": set(),
    "negmine_mine_anchors": set(),
    "negmine_rows": {"collection", "shard"},
    "negmine_dead_rows": {"collection", "shard"},
    "negmine_memory_bytes": {"collection", "shard", "kind"},
    "negmine_bucket_rows": {"collection", "shard"},
    "negmine_bucket_entropy": {"collection", "shard"},
    "negmine_upsert_rows": {"outcome"},
    "negmine_log_fsync_seconds": set(),
    "negmine_dropped_candidates": {"reason"},
    "negmine_starved_anchors": {"reason"},
    "negmine_staleness_steps": set(),
    "negmine_build_info": {"version", "backend", "python"},
    "negmine_collections": {"state"},
    "negmine_newest_step": {"collection"},
}


def test_metrics_are_there_after_traffic(wire: Wire, shared_server: LiveServer) -> None:
    name = wire.create(vectors=types_pb2.VECTOR_STORE_INT8)
    wire.upsert(name, batch(range(100), vectors(100, 8), step=5))
    wire.mine(name, vectors(4, 8), 10, own_ids=tensor(range(4), "int64"))
    for _ in range(2):  # counted once the handler has ended, which the caller does not wait for
        assert refusal(lambda: wire.get("nothing")).code is grpc.StatusCode.NOT_FOUND
    families = {family.name: family for family in text_string_to_metric_families(shared_server.metrics())}
    for family_name, labels in EXPECTED.items():
        family = families[family_name]
        assert family.samples, family_name
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert labels <= set(sample.labels), sample
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert sum(v for key, v in samples.items() if key[0] == "negmine_rows" and ("collection", name) in key) == 100
    assert samples["negmine_rpc_seconds_count", ("code", "NOT_FOUND"), ("method", "GetCollection")] >= 1
    assert samples["negmine_newest_step", ("collection", name)] == 5
    for family in families.values():
        assert family.name.startswith(("negmine_", "process_")), family.name
        if family.type != "histogram":
            continue
        assert not family.name.endswith("_total")
        by_series: dict[tuple[tuple[str, str], ...], list[float]] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                series = tuple(sorted((key, value) for key, value in sample.labels.items() if key != "le"))
                by_series.setdefault(series, []).append(sample.value)
        assert all(counts == sorted(counts) for counts in by_series.values()), family.name
