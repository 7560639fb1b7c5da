"""A report of `negmine inspect` as one static page: no scripts, no network, every value escaped.

A policy in the page forbids scripts and requests, so that a browser would refuse them even where one slipped in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Final

import negmine
from negmine import Verdict
from negmine.cli.explained import Candidate, Card, Report
from negmine.cli.sidecar import Shown

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, slots=True)
class Axis:
    """Scores from left to right, the same for all anchors of a page, so that bars may be compared."""

    low: float
    high: float

    @classmethod
    def over(cls, cards: Iterable[Card]) -> Axis:
        """An axis that holds every mark and score, but those of anchors with themselves."""
        scores = [value for card in cards for value in _scores(card)] or [0.0]
        low, high = min(scores), max(scores)
        room = (high - low) * 0.04 or 0.01  # so that the lowest bar can be seen
        return cls(low - room, high)

    def place(self, score: float) -> str:
        """Where a score stands, as CSS has it."""
        share = (score - self.low) / (self.high - self.low)
        return f"{100 * min(share, 1.0):.2f}%"


def _scores(card: Card) -> Iterator[float]:
    """What the axis is to hold; of an anchor itself, everybody knows that it is alike."""
    yield from (candidate.score for candidate in card.candidates if candidate.verdict is not Verdict.OWN_ID)
    yield from (score for _, score in card.marks())


def page(report: Report) -> str:
    """The page, as HTML."""
    axis = Axis.over(report.cards)
    title = f"{report.collection}: {len(report.cards):,} anchors"
    style = files("negmine.cli").joinpath("report.css").read_text(encoding="utf-8")
    counts = report.counts()
    hidden = "".join(
        f"body:has(#f-{_slug(name)}:not(:checked)) li.v-{_slug(name)} {{ display: none; }}\n" for name in counts
    )
    cards = "\n".join(_card(card, report, axis) for card in report.cards)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}{hidden}</style>
</head>
<body>
<main>
<p class="eyebrow">negmine inspect</p>
<h1>{escape(report.collection)}</h1>
<p class="lede">What became of the nearest items of {len(report.cards):,} anchors, nearest first: which were returned as
hard negatives, and what kept the others out.</p>
<dl class="facts">{_facts(report.facts)}</dl>
{_summary(report, counts)}
{cards}
<footer>Bars of all anchors have one scale, {axis.low:.3f} to {axis.high:.3f}. A higher score is
more similar. Long texts open
where they are touched.</footer>
</main>
</body>
</html>
"""


def _facts(facts: Mapping[str, str]) -> str:
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())


def _summary(report: Report, counts: Mapping[str, int]) -> str:
    shares = "".join(
        f'<span class="v-{_slug(name)}" style="flex: {count}" title="{escape(name)}: {count:,}"></span>'
        for name, count in counts.items()
    )
    filters = "".join(
        f'<label class="v-{_slug(name)}"><input type="checkbox" id="f-{_slug(name)}" checked autocomplete="off">'
        f"{escape(name)} <b>{count:,}</b></label>"
        for name, count in counts.items()
    )
    drops = ", ".join(f"{count:,} by {reason.replace('_', ' ')}" for reason, count in report.drops.items() if count)
    starved = report.starved()
    notes = [f"In the whole search the server dropped {drops or 'nothing'}."]
    if starved:
        notes.append(f"{starved:,} of {len(report.cards):,} anchors are starved: fewer than {report.k:,} passed.")
    return (
        f'<section class="sum"><div class="shares">{shares}</div>'
        f'<fieldset class="filters" aria-label="Verdicts to show">{filters}</fieldset>'
        f'<p class="note">{escape(" ".join(notes))}</p></section>'
    )


def _card(card: Card, report: Report, axis: Axis) -> str:
    shown = report.of_anchors.get(card.anchor.id, Shown())
    name = f"Anchor {card.anchor.id}"
    marks = [(name.rpartition(" ")[2], score) for name, score in card.marks()]
    places = "; ".join(f"--at-{kind}: {axis.place(score)}" for kind, score in marks)
    lines = "".join(f'<u class="{kind}"></u>' for kind, _ in marks)
    rows = "\n".join(_candidate(each, report, axis, lines) for each in card.candidates)
    ticks = "".join(f"<span>{score:.2f}</span>" for score in (axis.low, (axis.low + axis.high) / 2, axis.high))
    listed = f'<div class="axis" aria-hidden="true"><div>{ticks}</div></div>\n<ol>\n{rows}\n</ol>'
    return f"""<article class="card" style="{places}">
<div class="head">{_image(shown, name)}<div>
<h2>{escape(shown.text or name)}</h2>
<p class="meta">{_meta(card, report.k, named=bool(shown.text))}</p>
</div></div>
{listed if card.candidates else '<p class="empty">The collection has no items.</p>'}
</article>"""


def _meta(card: Card, k: int, named: bool) -> str:
    parts = [f'<span class="mono">anchor {card.anchor.id}</span>'] if named else []
    if card.anchor.group is not None and card.anchor.group >= 0:
        parts.append(f"<span>group <b>{card.anchor.group}</b></span>")
    parts += [
        f'<span><i class="key {name.rpartition(" ")[2]}"></i>{name} <b>{score:.3f}</b></span>'
        for name, score in card.marks()
    ]
    returned = sum(candidate.place is not None for candidate in card.candidates)
    outcome = card.outcome.value.replace("_", " ")
    starved = "" if card.outcome is negmine.Outcome.FULL else f', <span class="starved">{escape(outcome)}</span>'
    return "".join([*parts, f"<span><b>{returned:,}</b> of {k:,} negatives{starved}</span>"])


def _candidate(candidate: Candidate, report: Report, axis: Axis, lines: str) -> str:
    shown = report.of_items.get(candidate.id, Shown())
    group = "" if candidate.group is None or candidate.group < 0 else f" · group {candidate.group}"
    text = "" if shown.text is None else f'<div class="text" tabindex="0">{escape(shown.text)}</div>'
    return f"""<li class="v-{_slug(candidate.verdict_name)}">\
<span class="rank">{"–" if candidate.rank is None else candidate.rank}</span>\
<span class="bar" style="--s: {axis.place(candidate.score)}"><i></i>{lines}</span>\
<span class="score">{candidate.score:.3f}</span>\
<span class="badge">{escape(candidate.verdict_name)}</span>\
<div class="what">{_image(shown, f"Item {candidate.id}")}<div>{text}\
<div class="sub"><span class="mono">{candidate.id}</span>{group} · {escape(candidate.why)}</div></div></div></li>"""


def _image(shown: Shown, name: str) -> str:
    if shown.image is None:
        return ""
    return f'<img src="{escape(shown.image)}" alt="{escape(name)}" loading="lazy">'


def _slug(name: str) -> str:
    return name.replace(" ", "-")
