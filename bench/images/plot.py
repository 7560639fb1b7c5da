"""The plot of the image arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from harness import plot


class Seeds(Protocol):
    """An arm."""

    values: list[float]
    maps: list[float]


def training_images(
    bands: Mapping[str, Seeds], probes: Mapping[str, Seeds], path: Path = plot.RESULTS / "training_images.png"
) -> None:
    """R@1 and mAP@100 by band of hardness, and the probe's accuracy by loss: mean, std and every seed."""
    drawn = plot.panels(3)
    if drawn is None:
        return
    figure, (first, second, third) = drawn
    draw(first, bands, [arm.values for arm in bands.values()], "retrieval, R@1: negatives sampled from", "random")
    draw(second, bands, [arm.maps for arm in bands.values()], "retrieval, mAP@100: negatives sampled from", "random")
    draw(third, probes, [arm.values for arm in probes.values()], "linear probe, accuracy", "simclr")
    figure.savefig(path, dpi=110)


def draw(axis: Any, names: Mapping[str, Seeds], values: Sequence[Sequence[float]], title: str, baseline: str) -> None:
    """One panel; the line is the baseline's mean."""
    for place, seeds in enumerate(values):
        axis.errorbar(place, np.mean(seeds), yerr=np.std(seeds, ddof=1) if len(seeds) > 1 else 0, fmt="o", capsize=6)
        axis.scatter([place + 0.15] * len(seeds), seeds, s=12, color="grey")
    axis.axhline(float(np.mean(values[list(names).index(baseline)])), linestyle=":", color="grey")
    axis.set_xticks(range(len(values)), list(names))
    axis.set(title=title)
    axis.grid(visible=True, axis="y", alpha=0.3)
