"""(anchor, positive) pairs of texts, with everything that is there twice taken once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from negmine._exceptions import InvalidInput


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Q unique queries, C unique texts of the corpus, and P unique pairs, those of a query one after the other.

    Attributes:
        queries: in the order of their first occurrence.
        corpus: the texts given as such, then those positives that are not among them.
        query_rows: int64 [P], the pair's query.
        positive_rows: int64 [P], its positive in the corpus.
        offsets: int64 [Q + 1], where each query's pairs begin.
        positives_max: pairs of the query that has most, repeated ones counted again.
    """

    queries: list[str]
    corpus: list[str]
    query_rows: NDArray[np.int64]
    positive_rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    positives_max: int


def read_pairs(anchors: Sequence[str], positives: Sequence[str], corpus: Sequence[str] | None) -> Pairs:
    """Pairs of anchors [n] and positives [n], not empty; anchors that are there twice have several positives."""
    texts = {text: row for row, text in enumerate(dict.fromkeys([*(corpus or ()), *positives]))}
    of_query: dict[str, dict[int, None]] = {}
    for anchor, positive in zip(anchors, positives, strict=True):
        of_query.setdefault(anchor, {})[texts[positive]] = None
    counts = [len(rows) for rows in of_query.values()]
    return Pairs(
        queries=list(of_query),
        corpus=list(texts),
        query_rows=np.repeat(np.arange(len(counts)), counts),
        positive_rows=np.array([row for rows in of_query.values() for row in rows], np.int64),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        positives_max=max(Counter(anchors).values()),
    )


def pair_columns(columns: Sequence[str], anchor: str | None, positive: str | None) -> tuple[str, str]:
    """The columns of anchors and positives: those named where they are there, else the first and the second.

    Raises:
        InvalidInput: there is no second.
    """
    if positive not in columns and len(columns) < 2:
        raise InvalidInput(f"the dataset has the columns {list(columns)}; expected two at least", field="dataset")
    return (
        anchor if anchor is not None and anchor in columns else columns[0],
        positive if positive is not None and positive in columns else columns[1],
    )
