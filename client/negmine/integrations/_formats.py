"""Mined negatives as the columns of a data set, in sentence-transformers' output formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from negmine.integrations._rules import Mined

Columns = dict[str, list[Any]]


def columns_of(mined: Mined, output_format: str, anchor: str, positive: str, *, scores: bool) -> Columns:
    """The columns in one of FORMATS; `anchor` and `positive` name the first two, `scores` adds or replaces the last."""
    return FORMATS[output_format](mined, anchor, positive, scores)


def _triplet(mined: Mined, anchor: str, positive: str, scores: bool) -> Columns:
    """A row for each negative of each pair."""
    pairs = mined.pairs
    negatives, negative_scores = mined.ids[pairs.query_rows], mined.scores[pairs.query_rows]
    rows, places = np.nonzero(mined.found[pairs.query_rows])
    columns: Columns = {
        anchor: [pairs.queries[row] for row in pairs.query_rows[rows]],
        positive: [pairs.corpus[row] for row in pairs.positive_rows[rows]],
        "negative": [pairs.corpus[row] for row in negatives[rows, places]],
    }
    if scores:
        columns["scores"] = np.stack([mined.positive_scores[rows], negative_scores[rows, places]], axis=1).tolist()
    return columns


def _n_tuple(mined: Mined, anchor: str, positive: str, scores: bool) -> Columns:
    """A row for each pair that has all its negatives."""
    pairs = mined.pairs
    rows = np.flatnonzero(mined.found[pairs.query_rows].all(axis=1))
    queries = pairs.query_rows[rows]
    columns: Columns = {
        anchor: [pairs.queries[row] for row in queries],
        positive: [pairs.corpus[row] for row in pairs.positive_rows[rows]],
    }
    for place, negatives in enumerate(mined.ids[queries].T, start=1):
        columns[f"negative_{place}"] = [pairs.corpus[row] for row in negatives]
    if scores:
        columns["scores"] = np.hstack([mined.positive_scores[rows, None], mined.scores[queries]]).tolist()
    return columns


def _labeled_pair(mined: Mined, anchor: str, positive: str, scores: bool) -> Columns:
    """For each query a row for each positive, then one for each negative."""
    pairs = mined.pairs
    queries: list[str] = []
    texts: list[str] = []
    labels: list[Any] = []
    found = mined.found
    for query, text in enumerate(pairs.queries):
        own = slice(pairs.offsets[query], pairs.offsets[query + 1])
        negatives, positives = mined.ids[query, found[query]], pairs.positive_rows[own]
        queries += [text] * (len(positives) + len(negatives))
        texts += [pairs.corpus[row] for row in (*positives, *negatives)]
        if scores:
            labels += mined.positive_scores[own].tolist() + mined.scores[query, found[query]].tolist()
        else:
            labels += [1] * len(positives) + [0] * len(negatives)
    return {anchor: queries, positive: texts, "score" if scores else "label": labels}


def _labeled_list(mined: Mined, anchor: str, positive: str, scores: bool) -> Columns:
    """A row for each pair that has any negative: its positive and its negatives as one list."""
    pairs = mined.pairs
    found = mined.found
    rows = np.flatnonzero(found[pairs.query_rows].any(axis=1))
    texts: list[list[str]] = []
    labels: list[list[Any]] = []
    for row in rows:
        query = pairs.query_rows[row]
        negatives = mined.ids[query, found[query]]
        texts.append([pairs.corpus[one] for one in (pairs.positive_rows[row], *negatives)])
        if scores:
            labels.append([float(mined.positive_scores[row]), *mined.scores[query, found[query]].tolist()])
        else:
            labels.append([1] + [0] * len(negatives))
    queries = [pairs.queries[row] for row in pairs.query_rows[rows]]
    return {anchor: queries, positive: texts, "scores" if scores else "labels": labels}


FORMATS: Final[dict[str, Callable[[Mined, str, str, bool], Columns]]] = {
    "triplet": _triplet,
    "n-tuple": _n_tuple,
    "labeled-pair": _labeled_pair,
    "labeled-list": _labeled_list,
}
