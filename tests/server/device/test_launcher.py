"""A real device runs kernels as the emulation does, in a graph too."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cuda.bindings")
if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

from concurrent.futures import ThreadPoolExecutor

from negmine_server.device.launcher import NvrtcLauncher
from negmine_server.device.program import Kernel
from negmine_server.errors import DeviceFailed

pytestmark = pytest.mark.usefixtures("gpu")

SOURCE = Path(__file__).with_name("machine_kernels.cu")
DEVICE = torch.device("cuda:0")


@pytest.fixture(scope="module")
def launcher() -> NvrtcLauncher:
    return NvrtcLauncher(DEVICE)


def add_up(launcher: NvrtcLauncher) -> list[int]:
    words = torch.zeros(64, dtype=torch.int32, device=DEVICE)
    launcher.launch(Kernel(SOURCE, "add_up", 64), (1, 1), words.data_ptr(), 3)
    return words.tolist()


SUMS = [sum(range(64)) + 3 * 64 + 3 + thread % 3 + 5 for thread in range(64)]


def test_a_kernel_runs_on_the_current_stream(launcher: NvrtcLauncher) -> None:
    assert add_up(launcher) == SUMS
    with torch.cuda.stream(torch.cuda.Stream(DEVICE)):
        assert add_up(launcher) == SUMS


def test_a_thread_that_torch_has_not_worked_in_may_launch(launcher: NvrtcLauncher) -> None:
    words = torch.zeros(64, dtype=torch.int32, device=DEVICE)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(launcher.launch, Kernel(SOURCE, "add_up", 64), (1, 1), words.data_ptr(), 3).result()
    torch.cuda.synchronize(DEVICE)
    assert words.tolist() == SUMS


@pytest.mark.parametrize("shared_bytes", [1024, 100 << 10])
def test_dynamic_shared_memory_and_copies(launcher: NvrtcLauncher, shared_bytes: int) -> None:
    words = torch.arange(512, dtype=torch.int32, device=DEVICE)
    launcher.launch(Kernel(SOURCE, "copy", 64, shared_bytes), (1, 1), words.data_ptr(), 1)
    there, back = words.view(2, 64, 4)
    assert torch.equal(back, there.flip(0))


def test_launches_are_captured_into_a_graph(launcher: NvrtcLauncher) -> None:
    kernel = Kernel(SOURCE, "add_up", 64)
    launcher.prepare([kernel])
    words = torch.zeros(64, dtype=torch.int32, device=DEVICE)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        launcher.launch(kernel, (1, 1), words.data_ptr(), 3)
    assert not words.any()
    graph.replay()
    assert words.tolist() == SUMS


def test_a_source_that_does_not_compile_is_reported(launcher: NvrtcLauncher, tmp_path: Path) -> None:
    broken = tmp_path / "broken.cu"
    broken.write_text("nonsense\n")
    with pytest.raises(DeviceFailed, match="nonsense"):
        launcher.prepare([Kernel(broken, "broken", 32)])
