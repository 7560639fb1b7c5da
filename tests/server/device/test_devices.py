"""Which devices a server has, what they scan with, and where shards go."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from negmine_server.device import devices
from negmine_server.device.devices import Devices, Scanners, open_devices, scanners_for
from negmine_server.errors import DeviceFailed, DeviceLost


@pytest.mark.parametrize(
    ("capability", "scanners"),
    [
        ((7, 5), Scanners("popc", "planes")),  # Turing
        ((8, 0), Scanners("b1", "int8")),  # Ampere
        ((8, 6), Scanners("b1", "int8")),
        ((8, 9), Scanners("b1", "int8")),  # Ada
        ((9, 0), Scanners("b1", "int8")),  # Hopper
        ((10, 0), Scanners("int8", "int8")),  # Blackwell
        ((12, 0), Scanners("int8", "int8")),
    ],
)
def test_scanners_go_by_capability(capability: tuple[int, int], scanners: Scanners) -> None:
    assert scanners_for(capability) == scanners


def gpus(*names: str, capability: tuple[int, int] = (9, 0)) -> list[Any]:
    return [
        SimpleNamespace(label=f"cuda:{place}", name=name, capability=capability, problem=None, close=lambda: None)
        for place, name in enumerate(names)
    ]


def test_shards_are_placed_in_turn_over_all_collections() -> None:
    made = Devices(gpus("a", "a", "a"))
    placed = [[gpu.label[-1] for gpu in made.place(shards)] for shards in (2, 2, 4, 1)]
    assert placed == [["0", "1"], ["2", "0"], ["1", "2", "0", "1"], ["2"]]
    made.close()


def test_nothing_is_placed_on_a_device_that_is_lost() -> None:
    made = Devices(gpus("a", "a", "a"))
    assert not made.lost
    made.gpus[1].problem = DeviceLost("gone")
    assert made.lost
    assert [gpu.label[-1] for gpu in made.place(4)] == ["0", "2", "0", "2"]
    for gpu in made.gpus:
        gpu.problem = DeviceLost("gone")
    with pytest.raises(DeviceLost):
        made.place(1)


def test_devices_are_described_by_kind() -> None:
    assert Devices(gpus("NVIDIA H200", "NVIDIA H200")).description == "NVIDIA H200 ×2: b1, int8"
    assert Devices([*gpus("A"), *gpus("B", capability=(10, 0))]).description == "A: b1, int8; B: int8"


def test_a_device_named_twice_serves_as_two() -> None:
    assert devices._chosen("1,0,1", 2) == [(1, "cuda:1"), (0, "cuda:0"), (1, "cuda:1/2")]
    assert devices._chosen("", 2) == [(0, "cuda:0"), (1, "cuda:1")]


@pytest.mark.parametrize(("numbers", "count", "said"), [("2", 2, "names 2; .* 0 to 1"), ("", 0, "none"), ("0", 0, "0")])
def test_a_device_that_is_not_there_is_named(numbers: str, count: int, said: str) -> None:
    with pytest.raises(DeviceFailed, match=said):
        devices._chosen(numbers, count)


def test_packages_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_NEEDED", {"no_such_module": "torch", "no.such": "cuda-core", "numpy": "numpy"})
    with pytest.raises(DeviceFailed, match=r"needs torch, cuda-core: pip install 'negmine-server\[gpu\]'"):
        open_devices("")


def test_a_torch_without_cuda_and_a_machine_without_a_device_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr(devices, "_NEEDED", {})
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(DeviceFailed, match="built without CUDA"):
        open_devices("")
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        with pytest.raises(DeviceFailed, match="nvidia-smi"):
            open_devices("")
