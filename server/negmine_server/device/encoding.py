"""Sign codes of embeddings made on a device: words that equal the host's bit for bit.

The device projects in float32. Every projection that rounding may have put on the wrong side of zero is named to the
host, which makes it again in float64 as `negmine.encoder` does for its own; the bound of that doubt holds for any order
of sums, so that nothing depends on how a device adds. Magnitudes are added up in float64: corrections differ from the
host's by what float32 rounds, as those of two hosts do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from negmine.encoder import Codes, Encoder
from numpy.typing import NDArray

from negmine_server.device.gpu import Gpu
from negmine_server.domain import F32, I64, U64
from negmine_server.errors import DeviceFailed

CHUNK_VALUES = 1 << 22  # of embeddings or projections at once: a few times 16 MiB on the device
_FINE = 1 + 2.0**-20  # float32 holds it, TF32 and the halves of it round it to 1
_PROBE_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class _Projected:
    """A chunk's [m] projections as they come back."""

    octets: NDArray[np.uint8]  # [m, bits / 8], bits in doubt clear
    totals: NDArray[np.float64]  # [m], magnitudes of those not in doubt
    doubtful: I64  # row * bits + column
    residual_lengths: F32  # [m]


class DeviceEncoder:
    """Encodes on one device, on its side stream for updates. Thread-safe."""

    def __init__(self, encoder: Encoder, gpu: Gpu) -> None:
        self._encoder = encoder
        self._gpu = gpu
        self._chunk_rows = max(1, CHUNK_VALUES // max(encoder.bits, encoder.dimension))

    def prepare(self) -> None:
        """Puts the rotation on the device and tries a product there, so that no request waits for it.

        Raises:
            DeviceFailed: the device rounds float32 products to less.
            DeviceFull, DeviceLost: as the device does; `encode_measured` too.
        """
        with self._gpu.guard(), self._gpu.updating():
            fine = torch.full((_PROBE_ROWS, _PROBE_ROWS), _FINE, device=self._gpu.torch_device)
            if not torch.equal(fine @ torch.eye(_PROBE_ROWS, device=fine.device), fine):
                raise DeviceFailed(
                    f"{self._gpu.name} multiplies float32 in less than float32: "
                    "unset NVIDIA_TF32_OVERRIDE and TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"
                )
            assert self._rotation.is_contiguous()

    def encode_measured(self, embeddings: F32, lengths: F32) -> Codes:
        """As `Encoder.encode_measured`: codes of embeddings [n, d] of these lengths [n]."""
        n = len(embeddings)
        words = np.empty((n, self._encoder.words), np.uint64)
        corrections, norms = np.empty(n, np.float32), np.empty(n, np.float32)
        for start in range(0, n, self._chunk_rows):
            part = slice(start, start + self._chunk_rows)
            words[part], corrections[part], norms[part] = self._encode_chunk(embeddings[part], lengths[part])
        return Codes(words, corrections, norms)

    def _encode_chunk(self, embeddings: F32, lengths: F32) -> tuple[U64, F32, F32]:
        encoder = self._encoder
        with self._gpu.guard(), self._gpu.updating():
            found = self._project(embeddings, lengths)
        rows, columns = np.divmod(found.doubtful, encoder.bits)
        within, rows_within = np.unique(rows, return_inverse=True)
        residual = encoder.centred(embeddings[within], lengths[within])
        exact = encoder.project_exactly(residual, rows_within, columns)
        bits = (exact >= 0).astype(np.uint8) << (columns % 8).astype(np.uint8)
        np.bitwise_or.at(found.octets, (rows, columns // 8), bits)
        np.add.at(found.totals, rows, np.abs(exact))
        return found.octets.view(np.uint64), *encoder.scaled(lengths, found.residual_lengths, found.totals)

    def _project(self, embeddings: F32, lengths: F32) -> _Projected:
        """On the current stream."""
        encoder = self._encoder
        residual, residual_lengths = self._upload(embeddings), self._upload(lengths)
        if self._mean is not None:
            compared = residual / residual_lengths[:, None] if encoder.cosine else residual
            residual = compared - self._mean
            residual_lengths = (residual * residual).sum(1).sqrt()
        projections = residual @ self._rotation.T
        bounds = (residual_lengths * float(encoder.doubt))[:, None]
        magnitudes = projections.abs()
        doubtful = magnitudes <= bounds
        totals = magnitudes.masked_fill_(doubtful, 0).sum(1, dtype=torch.float64)
        octets = ((projections > bounds).view(len(embeddings), -1, 8) * self._places).sum(2, dtype=torch.uint8)
        return _Projected(
            octets=_download(octets),
            totals=_download(totals),
            doubtful=_download(doubtful.view(-1).nonzero().view(-1)),
            residual_lengths=lengths if self._mean is None else _download(residual_lengths),
        )

    @cached_property
    def _rotation(self) -> torch.Tensor:
        return self._upload(self._encoder.rotation)

    @cached_property
    def _mean(self) -> torch.Tensor | None:
        return None if self._encoder.mean is None else self._upload(self._encoder.mean)

    @cached_property
    def _places(self) -> torch.Tensor:
        return self._upload(1 << np.arange(8, dtype=np.uint8))

    def _upload(self, array: NDArray[Any]) -> torch.Tensor:
        """As a tensor of the current stream; through pinned memory, which torch keeps and gives out again."""
        device = self._gpu.torch_device
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        staged = torch.empty(array.shape, dtype=dtype, pin_memory=device.type == "cuda")
        staged.numpy()[...] = array
        return staged.to(device, non_blocking=True)


def _download(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.cpu().numpy()
    return array
