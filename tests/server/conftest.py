"""Servers for the server's tests: real ones, in a process of their own, and their rooms wired in this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parent))  # tests are imported by path, and share the modules beside this one

# Imported where they are used: tests of kernels run where a server cannot.
if TYPE_CHECKING:
    from house import House
    from live_server import LiveServer
    from live_wire import Wire
    from negmine_server.device.gpu import Gpu

ON_A_CARD = os.environ.get("NEGMINE_GPU") == "1"  # as `make gpu` runs the tests of kernels

# Small bounds, so that tests reach them with small requests.
BOUNDS = {
    "anchors_max": 512,
    "k_max": 100,
    "positives_max": 50,
    "batch_rows_max": 2000,
    "message_bytes_max": 1 << 20,
    "step_ahead_max": 1000,
    "default_shards": 2,
    "collections_max": 500,
}


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for all tests that leave it as they found it: each makes collections of its own."""
    from live_server import LiveServer

    with LiveServer(tmp_path_factory.mktemp("shared"), **BOUNDS) as server:
        yield server


@pytest.fixture
def wire(shared_server: LiveServer) -> Iterator[Wire]:
    """Raw stubs on the shared server. Whatever a test did to it, it must still serve afterwards."""
    with shared_server.wire() as wire:
        yield wire
        wire.check_serving()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., LiveServer]]:
    """Starts servers with settings of their own, on the test's folder if none is named."""
    from live_server import LiveServer

    running: list[LiveServer] = []

    def make(folder: Path | None = None, **settings: object) -> LiveServer:
        running.append(LiveServer(folder or tmp_path / "data", **settings))
        return running[-1].start()

    yield make
    for server in running:
        server.kill()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The rooms below rpc, wired as the app wires them, on real files."""
    from house import House

    made = House(tmp_path / "house")
    yield made
    made.close()


@pytest.fixture(scope="session")
def gpu() -> Iterator[Gpu]:
    """A device: the first GPU with NEGMINE_GPU=1, else torch on the processor and kernels that g++ compiles."""
    pytest.importorskip("torch")
    if ON_A_CARD:
        from negmine_server.device.devices import open_devices

        (device,) = open_devices("0")
    else:
        if shutil.which("g++") is None:
            pytest.skip("kernels are emulated with g++, which is not here")
        from simulated import simulated_gpu

        device = simulated_gpu()
    yield device
    device.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On a card the tests that use it are run; the others have nothing to say there."""
    if ON_A_CARD:
        used = [item for item in items if {"gpu", "on_devices"} & set(getattr(item, "fixturenames", ()))]
        config.hook.pytest_deselected(items=[item for item in items if item not in used])
        items[:] = used


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
