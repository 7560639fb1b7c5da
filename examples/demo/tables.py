"""The demo's tables. Texts of the corpus are shown as they are, never read as markup."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from examples.demo.corpus import NO_ID, NO_LABEL

if TYPE_CHECKING:
    import negmine
    from rich.console import Console, ConsoleOptions, RenderResult

    from examples.demo.corpus import I64, Corpus
    from examples.demo.measure import Latency
    from examples.demo.questions import Change

COMPARED = 2  # negatives an anchor in the comparison
NOTABLE_MS = 0.05  # stages below are not worth a line


class Lines:
    """A text of at most `most` lines; what does not fit is cut with an ellipsis."""

    def __init__(self, text: Text, most: int) -> None:
        self._text = text
        self._most = most

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        lines = self._text.wrap(console, width)
        yield from lines[: self._most - 1]
        rest = lines[self._most - 1 :]
        for line in rest:
            line.rstrip()
        last = Text(" ").join(rest)
        last.truncate(width, overflow="ellipsis")
        yield last


def hard_negatives(corpus: Corpus, anchors: I64, negatives: negmine.Negatives, random: I64) -> Table:
    """Anchor → its hard negatives with scores, beside a random negative. `anchors` and `random` are rows [B]."""
    table = Table(show_lines=True, expand=True)
    table.add_column("anchor", ratio=5)
    table.add_column("hard negatives (cosine)", ratio=9)
    table.add_column("random negative", ratio=4)
    nearest, similarity = corpus.nearest_positives(anchors)
    for at, row in enumerate(anchors.tolist()):
        said: list[Lines] = [_anchor(corpus, row)]
        if nearest[at] != NO_ID:
            title = corpus.titles[int(corpus.rows_of(nearest[at : at + 1])[0])]
            said.append(Lines(Text(f"positive: {similarity[at]:.2f} {title}", "green"), 1))
        found = [_scored(corpus, score, item) for item, score in _picked(negatives, at)]
        cosine = float(corpus.vectors[row] @ corpus.vectors[random[at]])
        table.add_row(
            Group(*said),
            Group(*(Lines(text, 1) for text in found)) if found else Text("none is safe", "yellow"),
            Lines(_scored(corpus, cosine, int(corpus.ids[random[at]])), max(len(found), 2)),
        )
    return table


def comparison(
    corpus: Corpus, anchors: I64, change: Change, before: negmine.Negatives, after: negmine.Negatives
) -> Table:
    """The first negatives of each anchor, asked for in two ways."""
    table = Table(title=change.title, title_justify="left", title_style="bold", expand=True)
    table.add_column("anchor", ratio=2, no_wrap=True, overflow="ellipsis")
    table.add_column(change.before, ratio=3)
    table.add_column(change.after, ratio=3)
    for at, row in enumerate(anchors.tolist()):
        label = int(corpus.labels[row])
        name = Text(corpus.titles[row].split(", ")[0], "bold")
        if label != NO_LABEL:
            name.append(f" ({corpus.label_names[label]})", "not bold dim")
        table.add_row(name, *(_short(corpus, answer, at) for answer in (before, after)))
    return table


def latencies(columns: dict[str, Latency]) -> Table:
    """One column a way of asking: the client's wall time, then where it went, then the rate."""
    table = Table(box=None, pad_edge=False)
    table.add_column("p50 of a call")
    for name in columns:
        table.add_column(name, justify="right")
    found = list(columns.values())
    table.add_row("wall, at the client", *(Text(f"{one.wall_ms:.1f} ms", "bold") for one in found))
    for stage in dict.fromkeys(stage for one in found for stage in one.stages_ms):
        values = [one.stages_ms.get(stage, 0.0) for one in found]
        if max(values) >= NOTABLE_MS:
            table.add_row(f"  server: {stage}", *(f"{ms:.1f} ms" if ms >= NOTABLE_MS else "–" for ms in values))
    rest = (one.outside_ms for one in found)
    table.add_row("  wire and the rest", *(f"{ms:.1f} ms" if ms >= NOTABLE_MS else "–" for ms in rest))
    table.add_row("anchors/s", *(Text(f"{one.anchors_per_s:,.0f}", "bold") for one in found))
    table.add_row("scores/s", *(f"{one.anchors_per_s * one.rows_scanned:.2e}" for one in found))
    return table


def _anchor(corpus: Corpus, row: int) -> Lines:
    title, text = corpus.titles[row], corpus.texts[row]
    said = Text(title.split(", ")[0], "bold")
    if text != title:
        said.append(f": {text}", "not bold")
    return Lines(said, 3)


def _scored(corpus: Corpus, score: float, item: int) -> Text:
    row = int(corpus.rows_of(np.array([item]))[0])
    title, text = corpus.titles[row], corpus.texts[row]
    said = Text(f"{score:5.2f} ", "cyan").append(", ".join(title.split(", ")[:2]), "default")
    return said if text == title else said.append(f": {text}", "dim default")


def _picked(negatives: negmine.Negatives, at: int) -> list[tuple[int, float]]:
    count = int(negatives.counts[at])
    return list(zip(negatives.ids[at, :count].tolist(), negatives.scores[at, :count].tolist(), strict=True))


def _short(corpus: Corpus, negatives: negmine.Negatives, at: int) -> Group:
    lines = []
    for item, score in _picked(negatives, at)[:COMPARED]:
        row = int(corpus.rows_of(np.array([item]))[0])
        lines.append(Lines(Text(f"{score:5.2f} ", "cyan").append(corpus.titles[row].split(", ")[0], "default"), 1))
    return Group(*lines)
