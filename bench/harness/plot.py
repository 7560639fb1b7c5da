"""Plots of curves; without matplotlib there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.curves import Curve

RESULTS = Path(__file__).resolve().parents[1] / "results"
OURS_WIDTH = 2.5


def panels(columns: int) -> Any:
    """A figure with its axes; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("matplotlib is not installed: nothing is drawn")
        return None
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(6.5 * columns, 6), squeeze=False, layout="constrained")
    return figure, axes[0]


def recall(sets: Mapping[str, Sequence[Curve]], path: Path = RESULTS / "recall.png") -> None:
    """Recall against ms per 1,024 queries, one panel a data set; memory in the legend."""
    drawn = panels(len(sets))
    if drawn is None:
        return
    figure, axes = drawn
    for axis, (title, curves) in zip(axes, sets.items(), strict=True):
        for curve in curves:
            ours = curve.slug.startswith("negmine")
            bits = f" {curve.bits} bits" if curve.bits else ""
            axis.plot(
                [point.recall for point in curve.front],
                [point.ms for point in curve.front],
                marker="o",
                markersize=4,
                linewidth=OURS_WIDTH if ours else 1,
                label=f"{curve.name}{bits}, {curve.memory_bytes / 2**20:,.0f} MiB",
            )
        axis.set(title=title, xlabel="recall@64 of the true neighbours", ylabel="ms per 1,024 queries", yscale="log")
        axis.grid(visible=True, which="both", alpha=0.3)
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)


def growth(rows: Sequence[int], series: Mapping[str, Sequence[float]], path: Path = RESULTS / "growth.png") -> None:
    """Ms per 1,024 anchors against rows, both logarithmic."""
    drawn = panels(1)
    if drawn is None:
        return
    figure, (axis,) = drawn
    for name, ms in series.items():
        axis.plot(rows, ms, marker="o", label=name)
    axis.set(xlabel="rows", ylabel="scan, ms per 1,024 anchors", xscale="log", yscale="log")
    axis.grid(visible=True, which="both", alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=110)
