"""Buffers on their way to the device."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from negmine_server.device.gpu import Gpu
from negmine_server.device.staging import Staging


def test_what_is_put_in_arrives_at_its_address(gpu: Gpu) -> None:
    staging = Staging(gpu, 1024)
    for turn in range(7):  # more than there are parcels
        parcel = staging.next()
        first, first_at = parcel.array((3,), np.int32)
        second, second_at = parcel.array((2, 5), np.int64)
        assert second_at == first_at + 16
        first[:], second[:] = turn, 100 + turn
        with gpu.updating():
            parcel.send()
            parcel.end()
            gpu.sync()
        arrived = parcel._device.cpu().numpy()
        assert arrived[:12].view(np.int32).tolist() == [turn] * 3
        assert arrived[16:96].view(np.int64).tolist() == [100 + turn] * 10
    assert staging.device_bytes == 3 * 1024


def test_a_table_is_copied_to_a_tensor(gpu: Gpu) -> None:
    parcel = Staging(gpu, 256).next()
    table, _ = parcel.array((2, 4), np.uint64)
    table[:] = np.arange(8, dtype=np.uint64).reshape(2, 4)
    with gpu.updating():
        tensor = gpu.empty((2, 4), torch.int64)
        parcel.send_to(tensor)
        parcel.end()
        gpu.sync()
    assert tensor.cpu().tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_what_a_kernel_reads_is_held_until_the_parcel_is_used_again(gpu: Gpu) -> None:
    staging = Staging(gpu, 64)
    held = object()
    staging.next().end([held])
    assert [held in parcel._held for parcel in staging._parcels] == [True, False, False]
    for _ in range(3):
        staging.next()
    assert not any(parcel._held for parcel in staging._parcels)


def test_more_than_a_buffer_holds_is_a_mistake(gpu: Gpu) -> None:
    with pytest.raises(AssertionError):
        Staging(gpu, 64).next().array((9,), np.int64)
