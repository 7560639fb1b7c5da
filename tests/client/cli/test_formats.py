"""Every format against plain loops over anchors, positives and negatives."""

from __future__ import annotations

import math
from typing import Any

import negmine
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from negmine.cli.formats import Layout, OutputFormat

K = 3


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[int], list[list[int]], negmine.Negatives]:
    count = draw(st.integers(0, 6))
    anchors = [draw(st.integers(0, 99)) for _ in range(count)]
    positives = [draw(st.lists(st.integers(100, 199), max_size=3)) for _ in range(count)]
    counts = np.array([draw(st.integers(0, K)) for _ in range(count)], np.int32)
    beyond = np.arange(K) >= counts[:, None]
    ids = np.where(beyond, -1, np.arange(200, 200 + count * K).reshape(count, K))
    scores = np.where(beyond, np.nan, ids / 1000).astype(np.float32)
    against = np.array([draw(st.sampled_from([0.5, math.nan])) for _ in range(count)], np.float32)
    outcomes = tuple(negmine.Outcome.FULL if held == K else negmine.Outcome.EXHAUSTED for held in counts)
    mined = negmine.Negatives(
        ids=ids.astype(np.int64),
        scores=scores,
        counts=counts,
        outcomes=outcomes,
        exact_scores=True,
        drops={},
        missing_positives=(),
        timings_ms={},
        watermark=negmine.Watermark("i", 0, (1,)),
        newest=negmine.Version(0, 0),
        rows_scanned=1,
        collection="c",
        positive_scores=draw(st.sampled_from([None, against])),
    )
    return anchors, positives, mined


def none(value: float) -> float | None:
    return None if math.isnan(value) else value


def expected(layout: Layout, anchors: list[int], positives: list[list[int]], mined: negmine.Negatives) -> list[Any]:
    rows: list[dict[str, Any]] = []
    for place, anchor in enumerate(anchors):
        count = int(mined.counts[place])
        if layout.drop_starved and count < K:
            continue
        own = positives[place][: 1 if layout.first_positive else None] if layout.positives else []
        against = None if mined.positive_scores is None else none(float(mined.positive_scores[place]))
        ids, scores = mined.ids[place, :count].tolist(), mined.scores[place, :count].tolist()
        if layout.format is OutputFormat.LABELED_LIST:
            documents, labels = own + ids, [1] * len(own) + [0] * count
            rows.append(
                {"anchor": anchor, "documents": documents, "labels": labels, "scores": [against] * len(own) + scores}
            )
        elif layout.format is OutputFormat.LABELED_PAIR:
            rows += [{"anchor": anchor, "document": one, "label": 1, "score": against} for one in own]
            rows += [
                {"anchor": anchor, "document": one, "label": 0, "score": score}
                for one, score in zip(ids, scores, strict=True)
            ]
        for positive in own or [None]:
            head: dict[str, Any] = {"anchor": anchor} | ({"positive": positive} if layout.positives else {})
            first = [against] if layout.positives else []
            if layout.format is OutputFormat.TRIPLET:
                rows += [
                    {**head, "negative": one, "scores": [*first, score]} for one, score in zip(ids, scores, strict=True)
                ]
            elif layout.format is OutputFormat.N_TUPLE:
                padding = [None] * (K - count)
                columns = {f"negative_{rank}": one for rank, one in enumerate(ids + padding, 1)}
                rows.append({**head, **columns, "scores": first + scores + padding})
    return rows


@given(answers(), st.sampled_from(OutputFormat), st.booleans(), st.booleans(), st.booleans())
def test_every_format_is_what_loops_make(
    answer: tuple[list[int], list[list[int]], negmine.Negatives],
    name: OutputFormat,
    with_positives: bool,
    first_positive: bool,
    drop_starved: bool,
) -> None:
    anchors, positives, mined = answer
    layout = Layout(name, K, with_positives, first_positive, drop_starved)
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in positives])]).astype(np.int64)
    ragged = (offsets, np.array([one for held in positives for one in held], np.int64)) if with_positives else None
    batch = layout.batch(np.array(anchors, np.int64), ragged, mined)
    assert batch.schema == layout.schema
    assert batch.to_pylist() == expected(layout, anchors, positives, mined)
