"""The funnel against plain Python: filters, margins, rounds, windows and drop counts, for every kind of score."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house import House, upsert
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.collection import Collection
from negmine_server.domain import DropReason, Metric, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages
from negmine_server.options import MineOptions
from negmine_server.select.pickers.top import Top
from negmine_server.select.pickers.window import Window
from negmine_server.select.protection import Protection
from oracle import POOL_MAX, Ask, Oracle

COUNT, DIMENSION, BITS = 240, 16, 128
COSINE, INNER = Metric.COSINE, Metric.INNER_PRODUCT
NONE, INT8, FLOAT16, FLOAT32 = VectorStore
SYMMETRIC, ASYMMETRIC, FLOAT = Scoring
KINDS = [
    pytest.param(metric, store, mean, scoring, rescore, id=f"{metric.value}-{store.value}-{scoring.value}{extra}")
    for metric, store, mean, scoring, rescore, extra in (
        (COSINE, NONE, False, ASYMMETRIC, False, ""),
        (COSINE, NONE, False, SYMMETRIC, False, ""),
        (COSINE, NONE, True, ASYMMETRIC, False, "-mean"),
        (COSINE, INT8, False, ASYMMETRIC, True, "-rescored"),
        (COSINE, FLOAT16, False, SYMMETRIC, True, "-rescored"),
        (COSINE, FLOAT32, True, ASYMMETRIC, True, "-mean-rescored"),
        (COSINE, FLOAT32, False, FLOAT, False, ""),
        (COSINE, INT8, False, FLOAT, False, ""),
        (COSINE, FLOAT32, False, ASYMMETRIC, False, "-estimated"),
        (INNER, NONE, False, ASYMMETRIC, False, ""),
        (INNER, NONE, False, SYMMETRIC, False, ""),
        (INNER, INT8, False, ASYMMETRIC, True, "-rescored"),
        (INNER, FLOAT32, False, FLOAT, False, ""),
    )
]


@cache
def data() -> dict[str, Any]:
    random = np.random.default_rng(0)
    centres = random.standard_normal((12, DIMENSION))
    near = centres[random.integers(0, 12, COUNT)] + 0.6 * random.standard_normal((COUNT, DIMENSION))
    return {
        "ids": random.permutation(10 * COUNT)[:COUNT].astype(np.int64),
        "embeddings": near.astype(np.float32),
        "groups": random.integers(-1, 5, COUNT),
        "tags": random.integers(0, 16, COUNT).astype(np.uint64),
        "steps": np.repeat(np.arange(4), COUNT // 4),
    }


class Twins:
    """Collections of 1, 2, 4 and 8 shards with the same items, and their oracle."""

    def __init__(self, folder: Path, metric: Metric, store: VectorStore, mean: bool) -> None:
        self.house = House(folder)
        centre = data()["embeddings"].mean(axis=0) if mean else None
        spec = {"dimension": DIMENSION, "bits": BITS, "metric": metric, "store": store, "mean": centre}
        self.collections = {n: self.house.create(f"of-{n}", shards=n, **spec) for n in (1, 2, 4, 8)}
        self.oracle = Oracle(self.collections[1].encoder, metric, store)
        for step in range(4):
            chosen = data()["steps"] == step
            ids, rows, groups, tags = (data()[name][chosen] for name in ("ids", "embeddings", "groups", "tags"))
            self.oracle.add(ids, rows, groups, tags, step)
            for collection in self.collections.values():
                upsert(collection, ids, rows, groups=groups, tags=tags, step=step)


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made: list[Twins] = []

    @cache
    def make(metric: Metric, store: VectorStore, mean: bool) -> Twins:
        made.append(Twins(tmp_path_factory.mktemp("twins"), metric, store, mean))
        return made[-1]

    yield make
    for twin in made:
        twin.house.close()


def mine(collection: Collection, anchors: Any, asks: list[Ask], scoring: Scoring, *, rescore: bool) -> Negatives:
    """One request of several anchors; what belongs to the request is taken from the first."""
    first = asks[0]
    offsets = np.cumsum([0, *(len(ask.positives) for ask in asks)])
    window = None if first.window is None else Window(*first.window)
    options = MineOptions(
        k=first.k,
        own_ids=np.array([ask.own for ask in asks], np.int64),
        positive_offsets=offsets,
        positive_ids=np.array([item for ask in asks for item in sorted(ask.positives)], np.int64),
        groups=np.array([ask.group for ask in asks], np.int64),
        positive_scores=np.array([np.nan if a.positive_score is None else a.positive_score for a in asks], np.float32),
        require_tags=np.array([ask.require for ask in asks], np.uint64),
        forbid_tags=np.array([ask.forbid for ask in asks], np.uint64),
        min_steps=np.array([ask.min_step for ask in asks], np.int64),
        seeds=np.array([ask.seed for ask in asks], np.uint64),
        protection=Protection(**first.protection),
        policy=window or Top(),
        scoring=scoring,
        rescore=rescore,
        recall_target=1.0,
        pool=first.pool,
        pool_max=POOL_MAX,
        max_scanned=first.max_scanned,
    )
    return collection.mine(Anchors(anchors, None, None), options, with_vectors=False, stages=Stages())


def near(low: float, high: float) -> st.SearchStrategy[float]:
    """Thresholds that no score meets to the last bit."""
    return st.integers(0, 1000).map(lambda part: low + (high - low) * (part + 0.123456789) / 1001)


PROTECTION = st.fixed_dictionaries(
    {},
    optional={
        "absolute_margin": near(0, 0.4),
        "relative_margin": near(0, 0.9),
        "percent_of_positive": near(0.3, 1),
        "max_score": near(0.2, 1),
        "min_score": near(-1, 0.1),
    },
)
SOME_IDS = st.integers(0, COUNT - 1).map(lambda place: int(data()["ids"][place]))


@st.composite
def requests(draw: st.DrawFn) -> list[Ask]:
    shared = {
        "k": draw(st.integers(1, 12)),
        "protection": draw(PROTECTION),
        "pool": draw(st.one_of(st.just(0), st.integers(1, 50))),
        "max_scanned": draw(st.sampled_from([65_536, 64, 100])),
    }
    if draw(st.booleans()):
        low = draw(st.integers(0, 20))
        shared["window"] = (low, low + shared["k"] + draw(st.integers(0, 20)), draw(st.booleans()))
    return [
        Ask(
            min_step=draw(st.integers(0, 4)),
            seed=draw(st.integers(0, 2**64 - 1)),
            own=draw(st.one_of(st.just(-1), SOME_IDS, st.just(99_999))),
            positives=draw(st.lists(st.one_of(SOME_IDS, st.just(88_888)), max_size=4, unique=True)),
            group=draw(st.integers(-1, 5)),
            require=draw(st.sampled_from([0, 0, 1, 3])),
            forbid=draw(st.sampled_from([0, 0, 4, 12])),
            positive_score=draw(st.one_of(st.none(), st.none(), near(-1, 1).map(np.float32).map(float))),
            **shared,
        )
        for _ in range(draw(st.integers(1, 5)))
    ]


@pytest.mark.parametrize(("metric", "store", "mean", "scoring", "rescore"), KINDS)
def test_answers_are_those_of_plain_python(
    twins: Any, metric: Metric, store: VectorStore, mean: bool, scoring: Scoring, rescore: bool
) -> None:
    made: Twins = twins(metric, store, mean)

    @settings(max_examples=60)
    @given(requests(), st.lists(st.integers(0, COUNT - 1), min_size=5, max_size=5), st.sampled_from([1, 2, 4, 8]))
    def check(asks: list[Ask], places: list[int], shards: int) -> None:
        random = np.random.default_rng(places)
        anchors = data()["embeddings"][places[: len(asks)]] * 2
        anchors = anchors + 0.3 * random.standard_normal(anchors.shape).astype(np.float32)
        got = mine(made.collections[shards], anchors, asks, scoring, rescore=rescore)
        missing = []
        for row, ask in enumerate(asks):
            want = made.oracle.answer(anchors[row], ask, scoring, rescore=rescore)
            n = len(want.ids)
            assert got.ids[row].tolist() == want.ids + [-1] * (ask.k - n)
            np.testing.assert_array_equal(got.scores[row], np.float32(want.scores + [np.nan] * (ask.k - n)))
            assert (got.counts[row], got.filled[row]) == (n, want.filled)
            np.testing.assert_array_equal(got.positive_scores[row], np.float32(want.positive))
            if not mean:  # an offset leaves the scan's ceiling a rounding away from the filters'
                counted = zip(DropReason, got.drops[row].tolist(), strict=True)
                assert {reason.value: count for reason, count in counted if count} == want.drops
            missing += [[row, item] for item in want.missing]
        assert got.missing_positives.tolist() == missing
        assert got.exact == (rescore or scoring is FLOAT)

    check()
