"""A device's errors become the server's, and a lost one stays lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from negmine_server import metrics
from negmine_server.device.gpu import Gpu
from negmine_server.errors import DeviceFailed, DeviceFull, DeviceLost, InvalidInput


class NoLauncher:
    """Of a device on which nothing is launched."""

    def prepare(self, kernels: object) -> None:
        """Nothing."""

    def launch(self, kernel: object, blocks: object, argument: int, number: int) -> None:
        raise AssertionError


@pytest.fixture
def device() -> Iterator[Gpu]:
    made = Gpu(torch.device("cpu"), NoLauncher(), label="tested")
    yield made
    made.close()


def foreign(module: str) -> Exception:
    return type("CUDAError", (Exception,), {"__module__": module})("CUDA_ERROR_LAUNCH_FAILED")


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nmore"),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
        foreign("cuda.core._utils.cuda_utils"),
    ],
    ids=str,
)
def test_what_cuda_raises_is_the_loss_of_the_device(device: Gpu, error: Exception) -> None:
    calls = []
    device.on_lost = calls.append
    before = metrics.REGISTRY.get_sample_value("negmine_devices_lost_total")
    with pytest.raises(DeviceLost, match="tested answers no more") as caught, device.guard():
        raise error
    assert caught.value.retry_after_ms > 0
    assert caught.value.__cause__ is error
    with pytest.raises(DeviceLost), device.guard():
        raise AssertionError("the block does not run")
    assert device._lose(error) is device.problem  # found by another thread too
    assert calls == [device.problem]
    assert metrics.REGISTRY.get_sample_value("negmine_devices_lost_total") == before + 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        torch.AcceleratorError("CUDA error: out of memory"),  # of pinned memory
        RuntimeError("CUDA error: cuLaunchKernel: out of memory (CUDA_ERROR_OUT_OF_MEMORY)"),
    ],
    ids=str,
)
def test_a_lack_of_memory_is_no_loss(device: Gpu, error: Exception) -> None:
    with pytest.raises(DeviceFull, match="tested has no memory left"), device.guard():
        raise error
    assert device.problem is None
    with device.guard():
        device.zeros(3, torch.int32)


@pytest.mark.parametrize("error", [ValueError("shape"), RuntimeError("shape"), InvalidInput("k"), DeviceFull("before")])
def test_other_errors_pass(device: Gpu, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, device.guard():
        raise error
    assert caught.value is error
    assert device.problem is None


def test_memory_streams_and_waiting(gpu: Gpu) -> None:
    pinned = gpu.pinned((2, 3), torch.float32)
    pinned += 1
    assert gpu.capability >= (8, 0)
    assert gpu.processors > 0
    with gpu.guard():
        with gpu.updating():
            held = gpu.zeros((2, 3), torch.float32)
            held.copy_(pinned, non_blocking=True)
            mark = gpu.mark()
        with gpu.searching():
            gpu.wait_for(mark)
            doubled = held + held
            before = metrics.REGISTRY.get_sample_value("negmine_device_syncs_total", {"device": gpu.label})
            gpu.sync()
            assert doubled.sum().item() == 12
        gpu.wait_here(mark)  # long done
    assert metrics.REGISTRY.get_sample_value("negmine_device_syncs_total", {"device": gpu.label}) == before + 1


def test_searches_have_a_thread_of_their_own(device: Gpu) -> None:
    threads = {device.worker.submit(threading.current_thread).result() for _ in range(3)}
    assert len(threads) == 1
    assert "tested" in threads.pop().name


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_a_device_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(DeviceFailed, match="cuda:0 cannot be used"):
        Gpu(torch.device("cuda", 0), NoLauncher())
