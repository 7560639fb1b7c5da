"""The plot of a comparison. Needs the extra `plots`: `pip install 'negmine[plots]'`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import Any, Final

import numpy as np

from negmine.cli.comparison import Comparison
from negmine.cli.mistakes import Mistake
from negmine.cli.sinks import publish, unfinished

_COLOURS: Final = ("#0072b2", "#d55e00")  # blue and vermilion, which everybody can tell apart
_SHARED: Final = "#5c636b"
_FORMATS: Final = {".png", ".svg", ".pdf"}
_STYLE: Final[dict[str, Any]] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 12,
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": "#3c4043",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#e8eaed",
    "xtick.color": "#5f6368",
    "ytick.color": "#5f6368",
    "legend.frameon": False,
}


def check_plot(path: str) -> None:
    """Raises Mistake where the plot cannot be made, before anything is asked of the server."""
    if Path(path).suffix.lower() not in _FORMATS:
        raise Mistake(f"--plot {path} ends in {Path(path).suffix or 'nothing'!r}; expected .png, .svg or .pdf")
    if not Path(path).absolute().parent.is_dir():
        raise Mistake(f"{path} cannot be written: there is no folder {Path(path).absolute().parent}")
    if find_spec("matplotlib") is None:
        raise Mistake("--plot needs matplotlib, which is missing: pip install 'negmine[plots]'")


def draw(comparison: Comparison, path: str) -> None:
    """Writes the plot: hardness of both, what they share, and what is false by place.

    Raises:
        Mistake: the file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 — an extra, and slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 — the same

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(14, 5), dpi=150, layout="constrained")
        hardness, overlap, false = figure.subplots(1, 3)
        _draw_hardness(hardness, comparison)
        _draw_overlap(overlap, comparison)
        _draw_false(false, comparison)
        lines: Any = figure.legend(
            handles=hardness.get_legend_handles_labels()[0],
            labels=[fill(f"{name}: {side.asked}", 160) for name, side in zip("ab", comparison.sides, strict=True)],
            loc="outside upper left",
        )
        lines.set_title(
            f"{comparison.collection}: {comparison.anchors:,} anchors, {comparison.k:,} negatives each",
            prop={"weight": "bold", "size": 13},
        )
        lines.set_alignment("left")
        draft = unfinished(Path(path))
        try:
            figure.savefig(draft, format=Path(path).suffix.lower()[1:])
            publish(draft, Path(path))
        except OSError as wrong:
            draft.unlink(missing_ok=True)
            raise Mistake(f"{path} cannot be written: {wrong.strerror or wrong}") from wrong


def _draw_hardness(axes: Any, comparison: Comparison) -> None:
    held = [side.scores[side.ids >= 0] for side in comparison.sides]
    everything = np.concatenate(held)
    bins = np.histogram_bin_edges(everything, bins=50) if everything.size else 1
    for scores, name, colour in zip(held, "ab", _COLOURS, strict=True):
        weights = np.full(len(scores), 100 / max(1, len(scores)))
        axes.hist(scores, bins, weights=weights, color=colour, alpha=0.35, label=name)
        axes.hist(scores, bins, weights=weights, color=colour, histtype="step", linewidth=1.5)
        if scores.size:
            axes.axvline(float(np.median(scores)), color=colour, linestyle="--", linewidth=1.2)
    kinds = {"exact" if side.exact_scores else "estimated" for side in comparison.sides}
    axes.set(title="Hardness", xlabel=f"score ({' and '.join(sorted(kinds))}); dashed: median", ylabel="% of negatives")


def _draw_overlap(axes: Any, comparison: Comparison) -> None:
    overlaps = comparison.overlaps()
    bins = min(comparison.k, 20)
    edges = (np.arange(bins + 2) - 0.5) / bins
    axes.hist(overlaps, edges, weights=np.full(len(overlaps), 100 / len(overlaps)), color=_SHARED, rwidth=0.85)
    axes.axvline(float(overlaps.mean()), color="black", linestyle="--", linewidth=1.2)
    axes.set(
        title=f"Shared negatives, {overlaps.mean():.0%} on average",
        xlabel="share of an anchor's negatives that both returned",
        ylabel="% of anchors",
        xlim=(edges[0], edges[-1]),
    )


def _draw_false(axes: Any, comparison: Comparison) -> None:
    if comparison.labels is None:
        axes.set_title("False negatives")
        axes.text(0.5, 0.5, "the anchors have no labels", transform=axes.transAxes, ha="center", color=_SHARED)
        axes.set_axis_off()
        return
    highest = 0.0
    for side, name, colour in zip(comparison.sides, "ab", _COLOURS, strict=True):
        rates = 100 * comparison.false_by_place(side)
        overall = comparison.measured(side)["false_negative_rate"]
        label = name if overall is None else f"{name}: {overall:.1%} of all"
        axes.plot(np.arange(1, len(rates) + 1), rates, color=colour, marker="o", markersize=3.5, label=label)
        highest = max(highest, float(np.nanmax(rates, initial=0.0)))
    axes.set(
        title="False negatives, by known labels",
        xlabel="place among the negatives returned",
        ylabel="% of the anchor's own group",
        ylim=(0, max(1.0, 1.15 * highest)),
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
