"""The plot of the text arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from harness import plot


def training_text(
    tasks: Mapping[str, Mapping[str, Sequence[float]]], path: Path = plot.RESULTS / "training_text.png"
) -> None:
    """MRR@10 by arm, one panel a task: mean, std and every seed; the dotted line is the mean of random negatives."""
    drawn = plot.panels(len(tasks))
    if drawn is None:
        return
    figure, axes = drawn
    for axis, (task, arms) in zip(axes, tasks.items(), strict=True):
        for place, (arm, seeds) in enumerate(arms.items()):
            axis.errorbar(np.mean(seeds), place, xerr=np.std(seeds, ddof=1), fmt="o", capsize=5, color=colour(arm))
            axis.scatter(seeds, [place + 0.2] * len(seeds), s=10, color="grey")
        axis.axvline(float(np.mean(arms["random"])), linestyle=":", color="grey")
        axis.set_yticks(range(len(arms)), list(arms))
        axis.invert_yaxis()
        axis.set(title=f"WordNet, {task}", xlabel="MRR@10 of held-out queries, whole corpus")
        axis.grid(visible=True, axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)


def colour(arm: str) -> str:
    """By what protects or scores it."""
    if arm.endswith(".protected"):
        return "tab:green"
    return "tab:orange" if arm.endswith(".asymmetric") else "tab:blue"
