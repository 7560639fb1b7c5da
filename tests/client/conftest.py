"""Servers for the client's tests: one that misbehaves on request, and the real one."""

from __future__ import annotations

import sys
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
