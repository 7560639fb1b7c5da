"""No policy, whatever its parameters and whatever fills, returns what protection excludes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from house import House, mine_options, upsert
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.collection import Collection
from negmine_server.domain import Fill, Filled, Metric, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages
from negmine_server.options import MineOptions
from negmine_server.select import registry
from negmine_server.select.protection import Protection
from policies import POLICIES

COUNT, DIMENSION = 150, 16
DELETED = slice(0, 30)  # upserted, then deleted
UNKNOWN = 10**9
KINDS = (
    (Metric.COSINE, VectorStore.FLOAT32, Scoring.ASYMMETRIC, True),
    (Metric.COSINE, VectorStore.INT8, Scoring.FLOAT, False),
    (Metric.COSINE, VectorStore.NONE, Scoring.ASYMMETRIC, False),
    (Metric.INNER_PRODUCT, VectorStore.FLOAT32, Scoring.ASYMMETRIC, True),
    (Metric.INNER_PRODUCT, VectorStore.NONE, Scoring.SYMMETRIC, False),
)


class Data:
    """Items with groups, tags and steps; uncertainties where the id is even."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        centres = random.standard_normal((6, DIMENSION))
        self.ids = random.permutation(10 * COUNT)[:COUNT].astype(np.int64)
        near = centres[random.integers(0, 6, COUNT)] + 0.7 * random.standard_normal((COUNT, DIMENSION))
        self.rows = near.astype(np.float32)
        self.groups = random.integers(-1, 4, COUNT)
        self.tags = random.integers(0, 8, COUNT).astype(np.uint64)
        self.steps = random.integers(0, 4, COUNT)
        self.uncertainties = np.where(self.ids % 2, np.nan, random.uniform(0, 1, COUNT)).astype(np.float32)
        self.place = {item: place for place, item in enumerate(self.ids.tolist())}


DATA = Data()


@pytest.fixture(scope="module")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    house = House(tmp_path_factory.mktemp("policies"))

    @cache
    def make(metric: Metric, store: VectorStore) -> Collection:
        name = f"{metric.value}-{store.value}".replace("_", "-")
        made = house.create(name, dimension=DIMENSION, bits=128, metric=metric, store=store, shards=2)
        for step in range(4):
            part = DATA.steps == step
            columns = {name: getattr(DATA, name)[part] for name in ("groups", "tags", "uncertainties")}
            upsert(made, DATA.ids[part], DATA.rows[part], step=step, **columns)
        for sent in made.delete(DATA.ids[DELETED], None, 9):
            sent.outcome.result(30)
        return made

    yield make
    house.close()


def _margins() -> st.SearchStrategy[Protection]:
    optional = {
        "absolute_margin": st.floats(0, 0.5),
        "relative_margin": st.floats(0, 1),
        "percent_of_positive": st.floats(0.5, 1),
        "max_score": st.floats(0.1, 2),
        "min_score": st.floats(-2, 0.1),
    }
    return st.fixed_dictionaries({}, optional=optional).map(lambda given: Protection(**given))


@st.composite
def requests(draw: st.DrawFn, name: str) -> tuple[Any, Any, MineOptions]:
    """A kind of collection, anchors, options."""
    k, rows = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    policy = registry.read_policy(draw(POLICIES[name](k)))
    kind = draw(st.sampled_from([each for each in KINDS if each[0] is Metric.COSINE or not policy.cosine_only]))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    sizes, known = random.integers(0, 4, rows), np.append(DATA.ids, UNKNOWN)
    positives = [np.sort(random.choice(known, size, replace=False)) for size in sizes]
    given = random.uniform(-1, 1, rows).astype(np.float32)
    options = mine_options(
        rows,
        k,
        own_ids=np.where(random.random(rows) < 0.7, random.choice(DATA.ids, rows), -1),
        positive_offsets=np.append(0, np.cumsum(sizes)),
        positive_ids=np.concatenate(positives).astype(np.int64),
        groups=random.integers(-1, 4, rows),
        positive_scores=np.where(random.random(rows) < 0.2, given, np.float32(np.nan)).astype(np.float32),
        require_tags=random.choice([0, 0, 1], rows).astype(np.uint64),
        forbid_tags=random.choice([0, 0, 4, 6], rows).astype(np.uint64),
        min_steps=random.integers(0, 5, rows),
        seeds=random.integers(0, 2**63, rows, dtype=np.uint64),
        protection=draw(_margins()),
        policy=policy,
        scoring=kind[2],
        rescore=kind[3],
        pool=draw(st.sampled_from([0, 0, 7, 60])),
        max_scanned=draw(st.sampled_from([65_536, 65_536, 50])),
        fill=draw(st.sampled_from(Fill)),
    )
    anchors = DATA.rows[random.integers(0, COUNT, rows)] + 0.3 * random.standard_normal((rows, DIMENSION))
    return kind, anchors.astype(np.float32), options


def mine(collection: Collection, anchors: Any, options: MineOptions) -> Negatives:
    return collection.mine(Anchors(anchors, None, None), options, with_vectors=False, stages=Stages())


def alone(options: MineOptions, row: int) -> MineOptions:
    """The options of one anchor."""
    first, last = options.positive_offsets[row : row + 2]
    names = ("own_ids", "groups", "positive_scores", "require_tags", "forbid_tags", "min_steps", "seeds")
    return replace(
        options,
        positive_offsets=np.array([0, last - first]),
        positive_ids=options.positive_ids[first:last],
        **{name: getattr(options, name)[[row]] for name in names},
    )


def check_items(row: int, ids: list[int], options: MineOptions) -> None:
    """Whatever fills: nothing twice, nothing that ids, groups, tags and age exclude."""
    first, last = options.positive_offsets[row : row + 2]
    assert len(set(ids)) == len(ids)
    assert not set(ids) & {int(options.own_ids[row]), *options.positive_ids[first:last].tolist()}
    assert not set(ids) & set(DATA.ids[DELETED].tolist())
    places = [DATA.place[item] for item in ids]
    groups, tags, steps = DATA.groups[places], DATA.tags[places], DATA.steps[places]
    assert options.groups[row] == -1 or not (groups == options.groups[row]).any()
    assert (tags & options.require_tags[row] == options.require_tags[row]).all()
    assert not (tags & options.forbid_tags[row]).any()
    assert (steps >= options.min_steps[row]).all()


def check_scores(scores: Any, positive: float, protection: Protection) -> None:
    """What is not above the ceilings, to float64's last digits."""
    s, least = scores.astype(np.float64), 1e-9
    if protection.max_score is not None:
        assert (s <= protection.max_score).all()
    if protection.absolute_margin is not None:
        assert (s + protection.absolute_margin <= positive + least).all()
    if protection.relative_margin is not None:
        assert (s <= positive - abs(positive) * protection.relative_margin + least).all()
    if protection.percent_of_positive is not None:
        assert (s < positive - abs(positive) * (1 - protection.percent_of_positive) + least).all()


def check_row(row: int, got: Negatives, options: MineOptions) -> None:
    policy, k = options.policy, options.k
    count = int(got.counts[row])
    fills = 0 if got.fills is None else int(got.fills[row])
    assert (got.ids[row, count:] == -1).all()
    assert np.isnan(got.scores[row, count:]).all()
    check_items(row, got.ids[row, :count].tolist(), options)
    bound = count - fills if options.fill is Fill.RELAXED else count
    check_scores(got.scores[row, :bound], float(got.positive_scores[row]), options.protection)
    picked = max(0, count - fills - policy.random_share(k))
    if options.protection.min_score is not None:
        assert (got.scores[row, :picked] >= options.protection.min_score).all()
    band = policy.band(got.positive_scores[[row]])
    if band is not None:
        assert (got.scores[row, :picked] <= band[0][0]).all()
        assert (got.scores[row, :picked] >= band[1][0]).all()
    if got.filled[row] is Filled.NO_POSITIVE_SCORE:
        assert count == 0
        assert np.isnan(got.positive_scores[row])
    else:
        assert (got.filled[row] is Filled.FULL) == (count - fills >= k)
    assert count <= max(k, policy.width(k))
    assert fills == 0 or count <= k
    if got.weights is not None:
        assert (got.weights[row] >= 0).all()
        assert not got.weights[row, count:].any()
        assert (got.weights[row, picked:count] == 1).all()  # random ones, and what fills


@pytest.mark.parametrize("name", registry.names())
def test_nothing_excluded_is_returned(collections: Any, name: str) -> None:
    @settings(max_examples=40)
    @given(requests(name))
    def check(request: tuple[Any, Any, MineOptions]) -> None:
        (metric, store, _, exact), anchors, options = request
        collection = collections(metric, store)
        got = mine(collection, anchors, options)
        for row in range(len(anchors)):
            check_row(row, got, options)
            if exact:
                there = got.ids[row] >= 0
                vectors = DATA.rows[[DATA.place[item] for item in got.ids[row, there].tolist()]]
                products = vectors @ anchors[row]
                if metric is Metric.COSINE:
                    products /= np.linalg.norm(vectors, axis=1) * np.linalg.norm(anchors[row])
                np.testing.assert_allclose(got.scores[row, there], products, rtol=1e-4, atol=1e-4)
        last = len(anchors) - 1
        single = mine(collection, anchors[[last]], alone(options, last))
        np.testing.assert_array_equal(single.ids[0], got.ids[last])
        np.testing.assert_array_equal(single.scores[0], got.scores[last])
        if got.weights is not None and single.weights is not None:
            np.testing.assert_array_equal(single.weights[0], got.weights[last])

    check()
