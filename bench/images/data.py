"""Fashion-MNIST, from Debian's package dataset-fashion-mnist or the folder named by NEGMINE_FASHION_MNIST."""

from __future__ import annotations

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

DEBIAN = "/usr/share/datasets/fashion-mnist"
CLASSES = 10
MEAN, DEVIATION = 0.2860, 0.3530  # of the training pixels, scaled to [0, 1]


@dataclass(frozen=True)
class Images:
    """n images of one split."""

    pixels: torch.Tensor  # float32 [n, 1, 28, 28], normalised, channels last
    labels: NDArray[np.int64]  # [n]

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int) -> Images:
        """The first n; the files are in random order."""
        return Images(self.pixels[:n], self.labels[:n])


def folder() -> Path | None:
    """Where the files are; None = nowhere."""
    place = Path(os.environ.get("NEGMINE_FASHION_MNIST", DEBIAN))
    return place if (place / "train-images-idx3-ubyte.gz").is_file() else None


def load(place: Path) -> tuple[Images, Images]:
    """The 60,000 images for training and the 10,000 for tests."""
    return split(place, "train"), split(place, "t10k")


def split(place: Path, name: str) -> Images:
    """One split, by its name in the files."""
    pixels = idx(place / f"{name}-images-idx3-ubyte.gz", header_bytes=16).reshape(-1, 1, 28, 28)
    normal = (torch.from_numpy(pixels.copy()).float() / 255 - MEAN) / DEVIATION
    labels = idx(place / f"{name}-labels-idx1-ubyte.gz", header_bytes=8)
    return Images(normal.contiguous(memory_format=torch.channels_last), labels.astype(np.int64))


def idx(path: Path, header_bytes: int) -> NDArray[np.uint8]:
    """The bytes behind the header of an idx file."""
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header_bytes)
