"""Calls joined into one Mine get, each, the answer that they get alone: every field, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from house import House, upsert
from hypothesis import given, settings
from hypothesis import strategies as st
from live_wire import vectors
from negmine_server.collection import Collection
from negmine_server.domain import Fill, Metric, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages
from negmine_server.options import MineOptions, join, kind
from negmine_server.select.pickers.top import Top
from negmine_server.select.pickers.window import Window
from negmine_server.select.protection import Protection

COUNT, DIMENSION = 300, 16
POSITIVES = st.lists(st.integers(0, COUNT + 20), max_size=6, unique=True)  # some that no item has
SHARED = st.fixed_dictionaries(
    {
        "k": st.integers(1, 10),
        "pool": st.sampled_from([0, 0, 1, 5]),
        "max_scanned": st.sampled_from([65_536, 64]),
        "protection": st.sampled_from(
            [Protection(), Protection(percent_of_positive=0.9), Protection(absolute_margin=0.2, min_score=0.0)]
        ),
        "window": st.sampled_from([None, (2, 14, False), (3, 30, True)]),
        "fill": st.sampled_from(Fill),
    }
)


@pytest.fixture(scope="module")
def collection_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    houses: list[House] = []

    @cache
    def make(metric: Metric, mean: bool) -> Collection:
        house = House(tmp_path_factory.mktemp("house"))
        houses.append(house)
        rows = vectors(COUNT, DIMENSION) + np.float32(0.5)
        centre = rows.mean(axis=0) if mean else None
        spec = {"dimension": DIMENSION, "bits": 128, "metric": metric, "store": VectorStore.INT8, "mean": centre}
        made = house.create(shards=2, **spec)
        for step in range(3):
            chosen = np.arange(step, COUNT, 3)
            upsert(made, chosen, rows[chosen], groups=chosen % 5 - 1, tags=chosen.astype(np.uint64) % 8, step=step)
        return made

    yield make
    for house in houses:
        house.close()


def call(
    random: np.random.Generator, positives: list[list[int]], shared: dict[str, Any]
) -> tuple[Anchors, MineOptions]:
    """One call; half of its anchors are near an item."""
    rows = len(positives)
    anchors = vectors(rows, DIMENSION, int(random.integers(1000)))
    options = dict(shared)
    window = options.pop("window")
    return Anchors(anchors, None, None), MineOptions(
        own_ids=random.integers(-1, COUNT, rows),
        positive_offsets=np.cumsum([0, *map(len, positives)]),
        positive_ids=np.array([item for each in positives for item in sorted(each)], np.int64),
        groups=random.integers(-1, 4, rows),
        positive_scores=np.where(random.random(rows) < 0.3, random.random(rows), np.nan).astype(np.float32),
        require_tags=random.integers(0, 2, rows).astype(np.uint64),
        forbid_tags=random.integers(0, 2, rows).astype(np.uint64) * np.uint64(4),
        min_steps=random.integers(0, 3, rows),
        seeds=random.integers(0, 2**64, rows, np.uint64),
        policy=Window(*window) if window and window[1] - window[0] >= options["k"] else Top(),
        recall_target=1.0,
        pool_max=4096,
        **options,
    )


@pytest.mark.parametrize(
    ("metric", "mean"), [(Metric.COSINE, False), (Metric.COSINE, True), (Metric.INNER_PRODUCT, False)]
)
@pytest.mark.parametrize(
    ("scoring", "rescore"),
    [
        (Scoring.SYMMETRIC, False),
        (Scoring.SYMMETRIC, True),
        (Scoring.ASYMMETRIC, False),
        (Scoring.ASYMMETRIC, True),
        (Scoring.FLOAT, False),
    ],
)
def test_a_call_gets_the_same_joined_or_alone(
    collection_of: Any, metric: Metric, mean: bool, scoring: Scoring, rescore: bool
) -> None:
    made: Collection = collection_of(metric, mean)

    def mine(anchors: Anchors, options: MineOptions) -> Negatives:
        return made.mine(anchors, options, with_vectors=True, stages=Stages())

    @settings(max_examples=12)
    @given(
        st.lists(st.lists(POSITIVES, min_size=0, max_size=5), min_size=2, max_size=16), SHARED, st.integers(0, 2**32)
    )
    def check(batches: list[list[list[int]]], shared: dict[str, Any], seed: int) -> None:
        random = np.random.default_rng(seed)
        shared = {**shared, "scoring": scoring, "rescore": rescore}
        calls = [call(random, positives, shared) for positives in batches]
        anchors, options = zip(*calls, strict=True)
        together = mine(*join(anchors, options))
        ends = np.cumsum([0, *(each.rows for each in anchors)]).tolist()
        for (start, stop), (own, asked) in zip(pairwise(ends), calls, strict=True):
            assert_same(together.part(start, stop), mine(own, asked))

    check()


def assert_same(got: Negatives, want: Negatives) -> None:
    for field in fields(Negatives):
        one, other = getattr(got, field.name), getattr(want, field.name)
        if isinstance(one, np.ndarray):
            np.testing.assert_array_equal(one, other, err_msg=field.name)
            assert one.dtype == other.dtype, field.name
        else:
            assert one == other, field.name


def test_codes_of_several_calls_are_joined(collection_of: Any) -> None:
    made: Collection = collection_of(Metric.INNER_PRODUCT, False)
    random, shared = np.random.default_rng(0), {"k": 3, "pool": 0, "max_scanned": 4096, "protection": Protection()}
    shared |= {"window": None, "scoring": Scoring.SYMMETRIC, "rescore": False}
    calls = []
    for rows in (1, 3, 2):
        anchors, options = call(random, [[]] * rows, shared)
        assert anchors.embeddings is not None
        coded = made.encoder.encode(anchors.embeddings)
        calls.append((Anchors(None, coded.words, coded.norms), options))
    anchors, options = zip(*calls, strict=True)
    assert len({kind(each) for each in anchors}) == 1
    together = made.mine(*join(anchors, options), with_vectors=False, stages=Stages())
    alone = made.mine(*calls[1], with_vectors=False, stages=Stages())
    assert_same(together.part(1, 4), alone)


def test_what_differs_is_not_shared() -> None:
    random = np.random.default_rng(0)
    base: dict[str, Any] = {"k": 3, "pool": 0, "max_scanned": 4096, "protection": Protection(), "window": None}
    base |= {"scoring": Scoring.SYMMETRIC, "rescore": False}
    same = call(random, [[], [1, 2]], base)[1].shared
    assert call(random, [[3, 4]], base)[1].shared == same
    for change in (
        {"k": 4},
        {"pool": 9},
        {"max_scanned": 64},
        {"protection": Protection(max_score=0.5)},
        {"window": (0, 9, True)},
        {"scoring": Scoring.FLOAT},
        {"rescore": True},
    ):
        assert call(random, [[], [1, 2]], base | change)[1].shared != same
    many = list(range(200))
    assert call(random, [[], many], base)[1].shared != same, "the widest pool would be kept for all"
