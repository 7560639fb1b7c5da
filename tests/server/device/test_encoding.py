"""Codes made on a device are the host's, whatever rounds otherwise there: torch's matmul adds in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("negmine", reason="the client cannot be imported here")

from negmine.encoder import Encoder, lengths_of
from negmine_server.device import encoding
from negmine_server.device.encoding import DeviceEncoder
from negmine_server.device.gpu import Gpu
from negmine_server.errors import DeviceFailed, DeviceLost
from simulated import simulated_gpu

RNG = np.random.default_rng(0)


def both(gpu: Gpu, encoder: Encoder, rows: np.ndarray) -> None:
    """Checks that the device's codes are the host's."""
    lengths = lengths_of(rows)
    host = encoder.encode_measured(rows, lengths)
    made = DeviceEncoder(encoder, gpu).encode_measured(rows, lengths)
    np.testing.assert_array_equal(made.words, host.words)
    np.testing.assert_array_equal(made.norms, host.norms)
    np.testing.assert_allclose(made.corrections, host.corrections, rtol=2e-6)
    assert made.words.dtype == np.uint64
    assert {made.corrections.dtype, made.norms.dtype} == {np.dtype(np.float32)}


@pytest.mark.parametrize("cosine", [True, False])
@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize(("dimension", "bits"), [(40, 64), (40, 256), (1, 64), (384, 256)])
def test_codes_are_the_hosts(dimension: int, bits: int, with_mean: bool, cosine: bool, gpu: Gpu) -> None:
    mean = RNG.standard_normal(dimension).astype(np.float32) if with_mean else None
    encoder = Encoder(dimension, bits, seed=3, mean=mean, cosine=cosine)
    both(gpu, encoder, RNG.standard_normal((700, dimension)).astype(np.float32) * 3)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
@pytest.mark.parametrize("cosine", [True, False])
def test_projections_about_zero_are_decided_as_on_the_host(scale: float, cosine: bool, gpu: Gpu) -> None:
    """Vectors across a row of the rotation, but for what float32 leaves of it; and one twice."""
    encoder = Encoder(48, 64, seed=1, cosine=cosine)
    rows = RNG.standard_normal((256, 48))
    axes = encoder.rotation.astype(np.float64)[np.arange(256) % 64]
    rows -= np.einsum("ij,ij->i", rows, axes)[:, None] * axes
    rows[1] = rows[0]
    both(gpu, encoder, (rows * scale).astype(np.float32))


@pytest.mark.parametrize("cosine", [True, False])
def test_vectors_at_the_mean_and_across_all_of_the_rotation(cosine: bool, gpu: Gpu) -> None:
    mean = np.zeros(96, np.float32)
    mean[:2] = 0.6, 0.8
    encoder = Encoder(96, 64, seed=1, mean=mean, cosine=cosine)
    rows = np.repeat(mean[None], 40, axis=0)
    rows[20:] += RNG.standard_normal((20, 96)).astype(np.float32) * 1e-6
    both(gpu, encoder, rows)
    bare = Encoder(96, 64, seed=1, cosine=cosine)
    free = RNG.standard_normal((30, 96))
    axes = bare.rotation.astype(np.float64)
    lengths = lengths_of(free := (free - free @ axes.T @ axes).astype(np.float32))
    made = DeviceEncoder(bare, gpu).encode_measured(free, lengths)
    np.testing.assert_array_equal(made.words, bare.encode_measured(free, lengths).words)


def test_a_batch_is_encoded_in_chunks_and_a_row_as_alone(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_VALUES", 64 * 100)
    encoder = Encoder(40, 64, seed=2, mean=np.full(40, 0.5, np.float32))
    rows = RNG.standard_normal((350, 40)).astype(np.float32)
    both(gpu, encoder, rows)
    both(gpu, encoder, rows[:1])
    both(gpu, encoder, rows[:0])
    both(gpu, encoder, rows[::2])  # not contiguous


def test_a_device_that_rounds_products_is_refused(gpu: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    DeviceEncoder(Encoder(8, 64), gpu).prepare()
    made = DeviceEncoder(Encoder(8, 64), simulated_gpu())

    def coarse(_: Any, other: Any) -> Any:
        return torch.ones((256, 256))

    monkeypatch.setattr(torch.Tensor, "__matmul__", coarse)
    with pytest.raises(DeviceFailed, match="NVIDIA_TF32_OVERRIDE"):
        made.prepare()


def test_a_device_that_is_lost_encodes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = simulated_gpu()
    made = DeviceEncoder(Encoder(8, 64), gpu)

    def broken(*_: Any) -> Any:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    rows = np.ones((1, 8), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "__matmul__", broken)
        with pytest.raises(DeviceLost):
            made.encode_measured(rows, lengths_of(rows))
    with pytest.raises(DeviceLost):
        made.encode_measured(rows, lengths_of(rows))
