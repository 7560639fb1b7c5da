"""Two random views of an image, as SimCLR makes them, for small grey images."""

from __future__ import annotations

import torch
from torch.nn.functional import affine_grid, grid_sample

SCALE = (0.6, 1.0)  # of the crop's side
BRIGHTNESS, CONTRAST = 0.4, 0.4


def view(pixels: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Random crop, resized; random mirror; random brightness and contrast. [n, 1, 28, 28] to the same shape."""
    n = len(pixels)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=random)

    side = uniform(*SCALE)
    crop = torch.zeros(n, 2, 3)
    crop[:, 0, 0] = side * torch.where(uniform(-1, 1) < 0, -1.0, 1.0)
    crop[:, 1, 1] = side
    crop[:, 0, 2], crop[:, 1, 2] = uniform(-1, 1) * (1 - side), uniform(-1, 1) * (1 - side)
    cropped = grid_sample(pixels, affine_grid(crop, list(pixels.shape), align_corners=False), align_corners=False)
    contrast = uniform(1 - CONTRAST, 1 + CONTRAST).view(n, 1, 1, 1)
    brightness = uniform(-BRIGHTNESS, BRIGHTNESS).view(n, 1, 1, 1)
    return (cropped * contrast + brightness).contiguous(memory_format=torch.channels_last)
