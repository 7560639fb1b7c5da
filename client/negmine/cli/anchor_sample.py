"""Some of the anchors of a file: drawn at random in one pass, or by id."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import negmine
from negmine.cli.mistakes import Mistake
from negmine.cli.rows import I64, Rows
from negmine.cli.sources import Sources


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """One anchor.

    Attributes:
        id: its own, or its row's number.
        embedding: floating point [d].
        positives: ids of its positives; None = the file has none for anybody.
        group: -1 = none; None = the file has none for anybody.
    """

    id: int
    embedding: NDArray[Any]
    positives: list[int] | None
    group: int | None


def sampled(sources: Sources, count: int, seed: int) -> list[Anchor]:
    """At most `count` anchors of all, drawn uniformly by the seed, in the order of the files; 0 = all."""
    random = np.random.default_rng(seed)
    held: list[tuple[float, int, Anchor]] = []  # key, number: the lowest keys of all rows are a uniform draw
    number = 0
    for rows in sources.chunks():
        keys = random.random(len(rows))
        best = np.argsort(keys, kind="stable")[: count or None]
        held += [(float(keys[row]), number + int(row), _anchor(rows, int(row))) for row in best]
        number += len(rows)
        if count:
            held = sorted(held, key=operator.itemgetter(0))[:count]
    return [anchor for _, _, anchor in sorted(held, key=operator.itemgetter(1))]


def by_ids(sources: Sources, ids: Sequence[int]) -> list[Anchor]:
    """The anchors with these ids, in their order.

    Raises:
        Mistake: an id that no anchor has.
    """
    wanted = np.array(ids, np.int64)
    found: dict[int, Anchor] = {}
    for rows in sources.chunks():
        assert rows.ids is not None
        for row in np.flatnonzero(np.isin(rows.ids, wanted)):
            found.setdefault(int(rows.ids[row]), _anchor(rows, int(row)))
    missing = [id_ for id_ in ids if id_ not in found]
    if missing:
        raise Mistake(f"--ids: {shown_ids(missing)} not among the anchors")
    return [found[id_] for id_ in ids]


def parse_ids(text: str) -> list[int]:
    """Ids with commas between them, each once.

    Raises:
        Mistake: something is not an id.
    """
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if not (word.isascii() and word.isdecimal() and int(word) <= np.iinfo(np.int64).max):
            raise Mistake(f"--ids is {text!r}: {word!r} is not an id; expected integers from 0, as in 3,17")
    return list(dict.fromkeys(map(int, words)))


def shown_ids(ids: Sequence[int]) -> str:
    """Ids as the beginning of a sentence about them: `id 3 is` or `ids 3, 17 and 5 others are`."""
    others = len(ids) - 5
    listed = ", ".join(map(str, ids[:5])) + (f" and {others:,} others" if others > 0 else "")
    return f"id {listed} is" if len(ids) == 1 else f"ids {listed} are"


def stacked(anchors: Sequence[Anchor]) -> NDArray[Any]:
    """Embeddings [B, d]."""
    return np.stack([anchor.embedding for anchor in anchors])


def request_rows(anchors: Sequence[Anchor], own_ids: bool) -> negmine.MineOptions:
    """What a mine call says of each anchor, besides its embedding.

    Args:
        anchors: B of them.
        own_ids: whether their ids are their own in the collection.
    """
    options = negmine.MineOptions()
    if own_ids:
        options["own_ids"] = np.array([anchor.id for anchor in anchors], np.int64)
    if any(anchor.positives is not None for anchor in anchors):
        options["positives"] = [anchor.positives or [] for anchor in anchors]
    if any(anchor.group is not None for anchor in anchors):
        options["groups"] = groups_of(anchors)
    return options


def groups_of(anchors: Sequence[Anchor]) -> I64:
    """int64 [B], -1 = none."""
    return np.array([-1 if anchor.group is None else anchor.group for anchor in anchors], np.int64)


def _anchor(rows: Rows, row: int) -> Anchor:
    assert rows.ids is not None
    positives = None
    if rows.positives is not None:
        offsets, values = rows.positives
        positives = values[offsets[row] : offsets[row + 1]].tolist()
    group = None if rows.groups is None else int(rows.groups[row])
    return Anchor(int(rows.ids[row]), np.array(rows.embeddings[row]), positives, group)
