"""Explanations against plain Python: every filter, for every kind of score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house import House, upsert
from negmine_server.collection import Collection
from negmine_server.domain import Fill, Metric, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.explain import Explained, Verdict, explain
from negmine_server.metrics import Stages
from negmine_server.options import MineOptions
from negmine_server.select.pickers.semi_hard import SemiHard
from negmine_server.select.pickers.top import Top
from negmine_server.select.pickers.window import Window
from negmine_server.select.protection import Protection
from oracle import Oracle

COUNT, DIMENSION, ANCHORS, K = 90, 16, 4, 5
COSINE, INNER = Metric.COSINE, Metric.INNER_PRODUCT
NONE, INT8, FLOAT16, FLOAT32 = VectorStore
SYMMETRIC, ASYMMETRIC, FLOAT = Scoring
KINDS = [
    pytest.param(metric, store, mean, scoring, rescore, id=f"{metric.value}-{store.value}-{scoring.value}-{rescore}")
    for metric, store, mean, scoring, rescore in (
        (COSINE, NONE, True, ASYMMETRIC, False),
        (COSINE, NONE, False, SYMMETRIC, False),
        (COSINE, INT8, False, ASYMMETRIC, True),
        (COSINE, FLOAT32, True, FLOAT, False),
        (INNER, NONE, False, ASYMMETRIC, False),
        (INNER, FLOAT16, False, ASYMMETRIC, True),
    )
]
MARGINS = ({"absolute_margin": 0.05}, {"relative_margin": 0.1}, {"percent_of_positive": 0.9}, {})


class Twin:
    """A collection, and the oracle of its items."""

    def __init__(self, folder: Path, metric: Metric, store: VectorStore, mean: bool) -> None:
        random = np.random.default_rng(0)
        rows = (random.standard_normal((COUNT, DIMENSION)) + random.standard_normal(DIMENSION)).astype(np.float32)
        self.ids = random.permutation(9 * COUNT)[:COUNT].astype(np.int64)
        self.rows = rows
        self.house = House(folder)
        centre = rows.mean(axis=0) if mean else None
        self.collection: Collection = self.house.create(
            "c", dimension=DIMENSION, bits=128, metric=metric, store=store, mean=centre, shards=2
        )
        self.oracle = Oracle(self.collection.encoder, metric, store)
        groups, tags = random.integers(-1, 4, COUNT), random.integers(0, 16, COUNT).astype(np.uint64)
        for step in range(3):
            part = np.arange(COUNT) % 3 == step
            columns = self.ids[part], rows[part], groups[part], tags[part]
            self.oracle.add(*columns, step)
            upsert(self.collection, columns[0], columns[1], groups=columns[2], tags=columns[3], step=step)


@pytest.fixture
def twin(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    made = Twin(tmp_path, *request.param)
    yield made
    made.house.close()


def options_of(twin: Twin, number: int, ranked: list[list[float]], scoring: Scoring, rescore: bool) -> MineOptions:
    """Options that leave some of every reason; those of one number are always the same."""
    random = np.random.default_rng(number)
    scores = np.sort(np.concatenate(ranked))
    protection: dict[str, float] = dict(MARGINS[number % 4])
    if number % 2:
        protection |= {"max_score": float(scores[-25]), "min_score": float(scores[40])}
    policies = (Top(), Window(3, 12, True), SemiHard(0.2) if twin.collection.spec.metric is COSINE else Top())
    positives = [np.sort(random.choice(twin.ids, size)) for size in (1, 2, 1, 0)]
    positives[0] = np.sort([*positives[0], 10**9])  # one that is not there
    return MineOptions(
        k=K,
        own_ids=np.array([*twin.ids[: ANCHORS - 1], -1]),
        positive_offsets=np.cumsum([0, *map(len, positives)]),
        positive_ids=np.concatenate(positives),
        groups=np.array([0, 1, -1, 2]) if number % 3 else np.full(ANCHORS, -1),
        positive_scores=np.full(ANCHORS, np.nan, np.float32),
        require_tags=np.array([0, 1, 0, 0], np.uint64),
        forbid_tags=np.array([8, 0, 0, 4], np.uint64),
        min_steps=np.full(ANCHORS, number % 2),
        seeds=np.full(ANCHORS, 7, np.uint64),
        protection=Protection(**protection),
        policy=policies[number % 3],
        scoring=scoring,
        rescore=rescore,
        recall_target=1.0,
        pool=0,
        pool_max=16_384,
        max_scanned=65_536,
        fill=list(Fill)[number % 3],
    )


def plain(twin: Twin, options: MineOptions, mined: Negatives, row: int, item: int, score: float) -> Verdict:
    """One candidate's verdict, by the sentences of mining.proto."""
    held, asked = twin.oracle.items[item], options.protection
    positive = float(mined.positive_scores[row])
    start, stop = options.positive_offsets[row : row + 2]
    require, forbid = int(options.require_tags[row]), int(options.forbid_tags[row])
    distance, nearest = (float(np.sqrt(np.maximum(0, 2 - 2 * s))) for s in (score, positive))  # NaN where s+ is
    margin = options.policy.margin if isinstance(options.policy, SemiHard) else np.inf
    percent = 1.0 if asked.percent_of_positive is None else asked.percent_of_positive
    reasons = {
        Verdict.PICKED: item in mined.ids[row],
        Verdict.OWN_ID: item == options.own_ids[row],
        Verdict.POSITIVE: item in options.positive_ids[start:stop],
        Verdict.GROUP: held.group != -1 and held.group == options.groups[row],
        Verdict.TAGS: held.tags & require != require or held.tags & forbid != 0,
        Verdict.AGE: held.step < options.min_steps[row],
        Verdict.MARGIN: score + (asked.absolute_margin if asked.absolute_margin is not None else -np.inf) > positive
        or score > positive - abs(positive) * (-np.inf if asked.relative_margin is None else asked.relative_margin)
        or (percent < 1 and score >= positive - abs(positive) * (1 - percent))
        or (np.isfinite(margin) and distance <= nearest),
        Verdict.MAX_SCORE: asked.max_score is not None and score > asked.max_score,
        Verdict.MIN_SCORE: (asked.min_score is not None and score < asked.min_score) or distance > nearest + margin,
    }
    return next((verdict for verdict, holds in reasons.items() if holds), Verdict.NOT_PICKED)


def explained(twin: Twin, anchors: Anchors, options: MineOptions, r: int) -> tuple[Negatives, Explained]:
    collection = twin.collection
    mined = collection.mine(anchors, options, with_vectors=False, stages=Stages())
    return mined, explain(anchors, options, collection.encoder, collection.engine, mined.ids, mined.positive_scores, r)


@pytest.mark.parametrize(
    ("twin", "scoring", "rescore"),
    [pytest.param(kind.values[:3], *kind.values[3:], id=kind.id) for kind in KINDS],
    indirect=["twin"],
)
def test_verdicts_are_those_of_plain_python(twin: Twin, scoring: Scoring, rescore: bool) -> None:
    anchors = Anchors(twin.rows[:ANCHORS] + np.float32(0.05), None, None)
    kind = FLOAT if rescore else scoring
    ranked = [[(i, s) for i, _, s in twin.oracle.ranked(row, kind, False)[0]] for row in anchors.embeddings]
    seen = set()
    for number in range(12):
        options = options_of(twin, number, [[s for _, s in row] for row in ranked], scoring, rescore)
        mined, found = explained(twin, anchors, options, COUNT + 2)
        assert mined.exact == (rescore or scoring is FLOAT)
        for row, expected in enumerate(ranked):
            assert found.ids[row].tolist() == [item for item, _ in expected] + [-1, -1]
            np.testing.assert_allclose(found.scores[row, :COUNT], [score for _, score in expected], atol=1e-6)
            assert np.isnan(found.scores[row, COUNT:]).all()
            verdicts = [
                plain(twin, options, mined, row, item, score)
                for item, score in zip(found.ids[row, :COUNT].tolist(), found.scores[row].tolist(), strict=False)
            ]
            assert found.verdicts[row].tolist() == [*verdicts, Verdict.NONE, Verdict.NONE]
            groups = [twin.oracle.items[item].group for item in found.ids[row, :COUNT].tolist()]
            assert found.groups[row].tolist() == [*groups, -1, -1]
        assert (found.verdicts == Verdict.PICKED).sum() == mined.counts.sum()
        picked = np.sort(mined.scores[mined.ids != -1])
        np.testing.assert_allclose(np.sort(found.scores[found.verdicts == Verdict.PICKED]), picked, atol=1e-6)
        seen |= set(found.verdicts.ravel().tolist())
        nearest = explained(twin, anchors, options, 3)[1]
        np.testing.assert_array_equal(nearest.ids, found.ids[:, :3])
        np.testing.assert_array_equal(nearest.verdicts, found.verdicts[:, :3])
    assert seen == set(Verdict)


@pytest.mark.parametrize("twin", [(COSINE, NONE, False)], indirect=True)
def test_an_anchor_without_the_positive_that_it_needs_is_bound_by_no_window(twin: Twin) -> None:
    anchors = Anchors(twin.rows[:ANCHORS], None, None)
    options = options_of(twin, 8, [[0.0] * 50], ASYMMETRIC, False)
    assert options.needs_positive
    mined, found = explained(twin, anchors, options, COUNT)
    assert np.isnan(mined.positive_scores[-1])
    assert mined.counts[-1] == 0
    windows = {Verdict.PICKED, Verdict.MARGIN, Verdict.MIN_SCORE}
    assert not windows & set(found.verdicts[-1].tolist())
    assert Verdict.NOT_PICKED in found.verdicts[-1]


@pytest.mark.parametrize("twin", [(COSINE, NONE, False)], indirect=True)
def test_no_anchors_and_an_empty_collection(twin: Twin) -> None:
    options = options_of(twin, 1, [[0.0] * 50], ASYMMETRIC, False)
    empty = twin.house.create("empty", dimension=DIMENSION, bits=128)
    anchors = Anchors(twin.rows[:ANCHORS], None, None)
    nothing = np.full((ANCHORS, K), -1)
    scores = np.full(ANCHORS, np.nan, np.float32)
    found = explain(anchors, options, empty.encoder, empty.engine, nothing, scores, 2)
    assert (found.ids == -1).all()
    assert (found.verdicts == Verdict.NONE).all()
