"""What became of the nearest items of some anchors, arranged for a person to look at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

import negmine
from negmine import Verdict
from negmine.cli.anchor_sample import Anchor
from negmine.cli.sidecar import Shown

NAMES: Final = {  # in the order in which they are decided
    Verdict.PICKED: "picked",
    Verdict.OWN_ID: "own id",
    Verdict.POSITIVE: "positive",
    Verdict.GROUP: "same group",
    Verdict.TAGS: "tags",
    Verdict.AGE: "too old",
    Verdict.MARGIN: "margin",
    Verdict.MAX_SCORE: "max score",
    Verdict.MIN_SCORE: "min score",
    Verdict.NOT_PICKED: "not picked",
}
_WHY: Final = {
    Verdict.OWN_ID: "the anchor itself",
    Verdict.POSITIVE: "a positive of the anchor",
    Verdict.GROUP: "in the anchor's group",
    Verdict.TAGS: "lacks a required tag, or has a forbidden one",
    Verdict.AGE: "older than asked for",
    Verdict.MARGIN: "too close to the positive's score",
    Verdict.MAX_SCORE: "above the highest score",
    Verdict.MIN_SCORE: "below the lowest score",
    Verdict.NOT_PICKED: "passed every filter; the policy took others",
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One item of an anchor.

    Attributes:
        rank: among all items, from 1; None = returned, but not among the nearest that were looked at.
        id: of the item.
        score: higher = more similar.
        verdict: what became of it.
        group: -1 = none; None = not known.
        place: among the negatives returned, from 1; None = not returned.
        fills: returned only to fill the place of a starved anchor.
    """

    rank: int | None
    id: int
    score: float
    verdict: Verdict
    group: int | None
    place: int | None = None
    fills: bool = False

    @property
    def verdict_name(self) -> str:
        """The verdict in a word or two."""
        return "filled" if self.fills else NAMES[self.verdict]

    @property
    def why(self) -> str:
        """The verdict in a sentence."""
        if self.place is None:
            return _WHY[self.verdict]
        said = f"negative {self.place}" + (", which only fills the anchor's places" if self.fills else "")
        return said if self.rank is not None else f"{said}; farther than those looked at"


@dataclass(frozen=True, slots=True)
class Card:
    """One anchor and what became of its candidates.

    Attributes:
        anchor: id and group.
        outcome: of the anchor.
        positive_score: the score that margins are taken against; None = there is none.
        ceiling: the highest score that protection and policy let pass; None = any.
        floor: the lowest; None = any.
        candidates: the nearest first, then what was returned beyond them.
    """

    anchor: Anchor
    outcome: negmine.Outcome
    positive_score: float | None
    ceiling: float | None
    floor: float | None
    candidates: tuple[Candidate, ...]

    def marks(self) -> list[tuple[str, float]]:
        """Names and scores to be marked beside the candidates'."""
        several = self.anchor.positives is not None and len(self.anchor.positives) > 1
        named = {
            "lowest positive" if several else "positive": self.positive_score,
            "ceiling": self.ceiling,
            "floor": self.floor,
        }
        return [(name, score) for name, score in named.items() if score is not None]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown.

    Attributes:
        collection: the concrete one.
        facts: what was asked and from which state it was answered, by name.
        k: negatives asked for an anchor.
        cards: one an anchor.
        drops: what the server counted over these anchors, by reason.
        of_anchors: what a person sees of each anchor, by id.
        of_items: and of each item.
    """

    collection: str
    facts: Mapping[str, str]
    k: int
    cards: tuple[Card, ...]
    drops: Mapping[str, int]
    of_anchors: Mapping[int, Shown] = field(default_factory=dict)
    of_items: Mapping[int, Shown] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Candidates by verdict, in the order in which they are decided."""
        found = Counter(candidate.verdict_name for card in self.cards for candidate in card.candidates)
        order = [*NAMES.values()]
        order.insert(1, "filled")
        return {name: found[name] for name in order if found[name]}

    def starved(self) -> int:
        """Anchors for which fewer than k passed, whatever fills their places."""
        return sum(card.outcome is not negmine.Outcome.FULL for card in self.cards)

    def as_json(self) -> dict[str, Any]:
        """The same for scripts; images are left out."""
        return {
            "collection": self.collection,
            "facts": dict(self.facts),
            "k": self.k,
            "verdicts": self.counts(),
            "starved": self.starved(),
            "drops": dict(self.drops),
            "anchors": [self._card(card) for card in self.cards],
        }

    def _card(self, card: Card) -> dict[str, Any]:
        return {
            "id": card.anchor.id,
            "group": card.anchor.group,
            "text": self.of_anchors.get(card.anchor.id, Shown()).text,
            "outcome": card.outcome,
            "positive_score": card.positive_score,
            "ceiling": card.ceiling,
            "floor": card.floor,
            "candidates": [
                {
                    "rank": candidate.rank,
                    "id": candidate.id,
                    "score": candidate.score,
                    "verdict": candidate.verdict_name,
                    "why": candidate.why,
                    "group": candidate.group,
                    "text": self.of_items.get(candidate.id, Shown()).text,
                }
                for candidate in card.candidates
            ],
        }


def cards(
    anchors: Sequence[Anchor],
    explanation: negmine.Explanation,
    protection: negmine.Protection | None,
    policy: negmine.Policy,
) -> tuple[Card, ...]:
    """A card for each of B anchors.

    Args:
        anchors: B of them.
        explanation: the server's, of the same anchors.
        protection: that was asked for.
        policy: that was asked for.
    """
    mined = explanation.negatives
    held = []
    for row, anchor in enumerate(anchors):
        score = None if mined.positive_scores is None else float(mined.positive_scores[row])
        positive = None if score is None or math.isnan(score) else score
        floor, ceiling = band(positive, protection, policy)
        candidates = (*_nearest(explanation, row), *_beyond(explanation, row))
        held.append(Card(anchor, mined.outcomes[row], positive, ceiling, floor, candidates))
    return tuple(held)


def _nearest(explanation: negmine.Explanation, row: int) -> list[Candidate]:
    places = {int(id_): place for place, id_ in enumerate(_returned(explanation, row), 1)}
    fills_from = len(places) - _fills(explanation, row)
    nearest = []
    for at in np.flatnonzero(explanation.ids[row] >= 0):
        id_ = int(explanation.ids[row, at])
        place = places.get(id_)
        nearest.append(
            Candidate(
                rank=int(at) + 1,
                id=id_,
                score=float(explanation.scores[row, at]),
                verdict=Verdict(int(explanation.verdicts[row, at])),
                group=int(explanation.groups[row, at]),
                place=place,
                fills=place is not None and place > fills_from,
            )
        )
    return nearest


def _beyond(explanation: negmine.Explanation, row: int) -> list[Candidate]:
    """Returned items that are farther than those looked at: of a window of ranks, or random ones."""
    returned = _returned(explanation, row)
    fills_from = len(returned) - _fills(explanation, row)
    looked_at = set(explanation.ids[row].tolist())
    scores = explanation.negatives.scores[row]
    beyond = [
        Candidate(None, int(id_), float(scores[at]), Verdict.PICKED, None, at + 1, fills=at >= fills_from)
        for at, id_ in enumerate(returned)
        if int(id_) not in looked_at
    ]
    return sorted(beyond, key=lambda candidate: -candidate.score)


def _returned(explanation: negmine.Explanation, row: int) -> Any:
    return explanation.negatives.ids[row, : int(explanation.negatives.counts[row])]


def _fills(explanation: negmine.Explanation, row: int) -> int:
    fills = explanation.negatives.fills
    return 0 if fills is None else int(fills[row])


def band(
    positive: float | None, protection: negmine.Protection | None, policy: negmine.Policy
) -> tuple[float | None, float | None]:
    """The lowest and the highest score that may be returned; None = any.

    Args:
        positive: the positive's score; None = there is none.
        protection: that was asked for.
        policy: semi-hard has a band of its own.
    """
    asked = protection or negmine.Protection()
    ceilings = [] if asked.max_score is None else [asked.max_score]
    floors = [] if asked.min_score is None else [asked.min_score]
    if positive is not None:
        if asked.absolute_margin is not None:
            ceilings.append(positive - asked.absolute_margin)
        if asked.relative_margin is not None:
            ceilings.append(positive - abs(positive) * asked.relative_margin)
        if asked.percent_of_positive is not None:
            ceilings.append(positive - abs(positive) * (1 - asked.percent_of_positive))
        hard = policy.hard if isinstance(policy, negmine.Mixed) else policy
        if isinstance(hard, negmine.SemiHard):  # distances of unit vectors: d^2 = 2 - 2 s
            farthest = math.sqrt(max(0.0, 2 - 2 * positive)) + hard.margin
            ceilings.append(positive)
            floors.append(1 - farthest**2 / 2)
    return max(floors, default=None), min(ceilings, default=None)
