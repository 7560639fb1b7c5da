"""A report of `negmine inspect` in the terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import negmine
from negmine.cli import tables
from negmine.cli.explained import Card, Report
from negmine.cli.sidecar import Shown

_STYLES: Final = {
    "picked": "bold green",
    "filled": "green",
    "own id": "dim",
    "positive": "bold blue",
    "same group": "magenta",
    "tags": "cyan",
    "too old": "cyan",
    "margin": "yellow",
    "max score": "red",
    "min score": "yellow",
    "not picked": "dim",
}


def report_table(report: Report) -> RenderableType:
    """One table an anchor, and what became of all candidates."""
    counts = Text("  ").join(Text(f"{count:,} {name}", style=_STYLES[name]) for name, count in report.counts().items())
    drops = ", ".join(f"{count:,} by {reason}" for reason, count in report.drops.items() if count)
    facts = tables.properties({"collection": report.collection, **report.facts, "dropped": drops or "none"})
    cards = [part for card in report.cards for part in (_heading(card, report), _card(card, report), Text())]
    return Group(facts, Text(), *cards, counts)


def one_line(text: str) -> str:
    """A text from a file as one line that cannot steer the terminal."""
    return "".join(letter if letter.isprintable() else "�" for letter in " ".join(text.split()))


def _heading(card: Card, report: Report) -> Text:
    shown = report.of_anchors.get(card.anchor.id, Shown())
    text = Text(f"anchor {card.anchor.id}", style="bold")
    if shown.text is not None:
        text.append(f"  {one_line(shown.text)}")
    facts = []
    if card.anchor.group is not None and card.anchor.group >= 0:
        facts.append(f"group {card.anchor.group}")
    if card.outcome is not negmine.Outcome.FULL:
        facts.append(f"starved: {card.outcome.value.replace('_', ' ')}")
    if facts:
        text.append(f"  ({', '.join(facts)})", style="not bold dim")
    return text


def _card(card: Card, report: Report) -> Table:
    texts = bool(report.of_items)
    table = Table(box=None, header_style="dim", padding=(0, 2, 0, 0), expand=texts)
    # On a narrow terminal what is short keeps its width, and so does a part of the texts: reasons give way.
    for name in ("rank", "score"):
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    table.add_column("verdict", no_wrap=True, min_width=11)
    for name in ("id", "group"):
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    table.add_column("why", no_wrap=True, overflow="ellipsis")
    if texts:
        table.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1, min_width=24)
    waiting = sorted(((score, name) for name, score in card.marks()), reverse=True)
    for candidate in card.candidates:
        while waiting and waiting[0][0] > candidate.score:
            _mark(table, *waiting.pop(0))
        style = _STYLES[candidate.verdict_name]
        group = "–" if candidate.group is None or candidate.group < 0 else str(candidate.group)
        shown = report.of_items.get(candidate.id, Shown())
        row = ["–" if candidate.rank is None else str(candidate.rank), f"{candidate.score:.4f}"]
        row += [candidate.verdict_name, str(candidate.id), group, candidate.why]
        cells = [Text(cell, style=style) for cell in row]
        table.add_row(*cells, *([Text(one_line(shown.text or ""))] if texts else []))
    return table


def _mark(table: Table, score: float, name: str) -> None:
    """A line where a mark stands between the candidates' scores."""
    table.add_row("", Text(f"{score:.4f}", style="blue"), Text(f"── {name}", style="blue"))
