"""Servers for the client's tests: one that misbehaves on request, and the real one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # tests are imported by path, and share the server below

import negmine
from fault_server import FaultServer

PATIENT = negmine.Retry(backoff_initial_s=0.01, backoff_max_s=0.05)  # tests wait for no real backoff


@pytest.fixture
def faulty() -> Iterator[FaultServer]:
    """A server of the real stubs on a real socket that misbehaves on request."""
    server = FaultServer()
    yield server
    server.release()
    server.close()


@pytest.fixture
def client(faulty: FaultServer) -> Iterator[negmine.Client]:
    with negmine.Client(faulty.target, retry=PATIENT, timeout_s=10) as made:
        yield made


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real server on a free port, in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    ports, log = folder / "ports.json", folder / "log"
    command = [sys.executable, "-m", "negmine_server", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0"]
    command += [f"--data-dir={folder / 'data'}", f"--ports-file={ports}", "--bucket-from-rows=20000"]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stderr=output, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        )
    try:
        while not ports.exists():  # kernels that are not cached yet are compiled first, which takes a minute
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield f"127.0.0.1:{json.loads(ports.read_text())['grpc']}"
    finally:
        process.terminate()
        assert process.wait(30) == 0, log.read_text()


@pytest.fixture
def live(target: str) -> Iterator[negmine.Client]:
    """A client of the real server."""
    with negmine.Client(target) as made:
        yield made


@pytest.fixture
def fresh(live: negmine.Client, request: pytest.FixtureRequest) -> negmine.Collection:
    """An empty collection of the real server: 16 dimensions, float32 vectors kept."""
    name = "t" + hashlib.blake2b(request.node.nodeid.encode(), digest_size=8).hexdigest()
    return live.create_collection(name, 16, bits=128, vectors="float32")
