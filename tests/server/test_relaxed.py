"""What fills starved anchors: order, bounds, and what holds all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from house import House, mine_options, upsert
from negmine_server.collection import Collection
from negmine_server.domain import Fill, Filled, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages
from negmine_server.select.pickers.window import Window
from negmine_server.select.protection import Protection

COUNT = 60
ANCHOR = np.array([[1, 0]], np.float32)
SCORES = np.linspace(1, -1, COUNT)  # of item i; the higher the id the easier


@pytest.fixture(scope="module")
def fan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collection]:
    """Unit vectors at falling cosines to the anchor; every tenth is of group 3, ids under 30 are of step 1."""
    house = House(tmp_path_factory.mktemp("fan"))
    made = house.create(dimension=2, bits=64, store=VectorStore.FLOAT32, shards=2)
    rows = np.stack([SCORES, np.sqrt(1 - SCORES**2)], axis=1)
    for step, part in enumerate((slice(30, COUNT), slice(0, 30))):
        ids = np.arange(COUNT)[part]
        upsert(made, ids, rows[part], step=step, groups=np.where(ids % 10 == 0, 3, 1))
    yield made
    house.close()


def mine(made: Collection, fill: Fill, scoring: Scoring = Scoring.FLOAT, **options: Any) -> Negatives:
    rescored = scoring is not Scoring.FLOAT
    asked = mine_options(1, fill=fill, scoring=scoring, rescore=rescored, **options)
    return made.mine(Anchors(ANCHOR, None, None), asked, with_vectors=False, stages=Stages())


@pytest.mark.parametrize("scoring", [Scoring.FLOAT, Scoring.ASYMMETRIC])
def test_below_the_floor_then_what_was_passed_over_then_above_the_ceiling(fan: Collection, scoring: Scoring) -> None:
    window = Protection(max_score=float(SCORES[20]) + 1e-6, min_score=float(SCORES[25]) - 1e-6)
    got = mine(fan, Fill.RELAXED, scoring, k=50, protection=window, policy=Window(2, 60))
    assert got.ids[0, :4].tolist() == [22, 23, 24, 25]
    assert got.fills is not None
    assert got.fills.tolist() == [46]
    assert got.filled == (Filled.EXHAUSTED,)
    below, passed, above = got.ids[0, 4:38].tolist(), got.ids[0, 38:40].tolist(), got.ids[0, 40:].tolist()
    assert (below, passed, above) == ([*range(26, 60)], [21, 20], [*range(19, 9, -1)])
    np.testing.assert_allclose(got.scores[0], SCORES[got.ids[0]], atol=1e-6)


def test_nothing_fills_unless_asked(fan: Collection) -> None:
    got = mine(fan, Fill.NOTHING, k=10, protection=Protection(min_score=float(SCORES[2]) - 1e-6))
    assert (got.counts.tolist(), got.fills) == ([3], None)


def test_ids_groups_and_age_hold_for_what_fills(fan: Collection) -> None:
    options: dict[str, Any] = {
        "own_ids": np.array([4]),
        "positive_offsets": np.array([0, 2]),
        "positive_ids": np.array([5, 6]),
        "groups": np.array([3]),
        "min_steps": np.array([1]),
        "protection": Protection(max_score=-0.99),
    }
    allowed = set(range(30)) - {4, 5, 6, 0, 10, 20}
    for fill in (Fill.RELAXED, Fill.RANDOM):
        got = mine(fan, fill, k=30, **options)
        assert set(got.ids[0].tolist()) - {-1} == (allowed if fill is Fill.RELAXED else set())


def test_an_anchor_without_the_positive_it_needs_is_not_filled(fan: Collection) -> None:
    for fill in Fill:
        got = mine(fan, fill, k=5, protection=Protection(percent_of_positive=0.9))
        assert (got.counts.tolist(), got.filled) == ([0], (Filled.NO_POSITIVE_SCORE,))


def test_random_fills_keep_below_the_ceilings_and_leave_the_floor(fan: Collection) -> None:
    window = Protection(max_score=float(SCORES[20]) + 1e-6, min_score=float(SCORES[22]) - 1e-6)
    seen = set()
    for seed in range(30):
        got = mine(fan, Fill.RANDOM, k=8, seed=seed, protection=window)
        again = mine(fan, Fill.RANDOM, k=8, seed=seed, protection=window)
        np.testing.assert_array_equal(got.ids, again.ids)
        assert got.ids[0, :3].tolist() == [20, 21, 22]
        assert len(set(got.ids[0].tolist())) == 8
        seen |= set(got.ids[0, 3:].tolist())
    assert seen == set(range(23, 60))
