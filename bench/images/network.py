"""The small CNN that all arms train: three strided convolutions, then what the task puts on top."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

CHANNELS = (16, 32, 64)
FEATURES = CHANNELS[-1] * 4 * 4  # the last map is 4 × 4
DIMENSION = 64
BLOCK = 4096


def backbone() -> nn.Sequential:
    """Images [n, 1, 28, 28] to features [n, FEATURES]."""
    layers: list[nn.Module] = []
    for before, after in zip((1, *CHANNELS), CHANNELS, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten()).to(memory_format=torch.channels_last)


class Embedder(nn.Module):
    """Unit vectors [n, DIMENSION] of images; `hidden` = width of a layer before the last, 0 = none."""

    def __init__(self, hidden: int = 0) -> None:
        super().__init__()
        self.features = backbone()
        if hidden:
            self.head: nn.Module = nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, DIMENSION))
        else:
            self.head = nn.Linear(FEATURES, DIMENSION)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeds."""
        return nn.functional.normalize(self.head(self.features(pixels)), dim=1)


@torch.no_grad()
def apply(module: nn.Module, pixels: torch.Tensor) -> NDArray[np.float32]:
    """The outputs for many images, in evaluation mode."""
    module.eval()
    return torch.cat([module(block) for block in pixels.split(BLOCK)]).numpy()
