"""Random items: the same whatever the shards, in an order of each anchor's own, all of them when as many are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house import House, mine_options, upsert
from negmine_server.collection import Collection
from negmine_server.domain import Filled, Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages
from negmine_server.select.pickers.mixed import Mixed
from negmine_server.select.pickers.top import Top
from negmine_server.select.protection import Protection

COUNT = 2000


def mine(made: Collection, rows: int = 3, **options: Any) -> Negatives:
    anchors = np.random.default_rng(1).standard_normal((rows, 8)).astype(np.float32)
    return made.mine(Anchors(anchors, None, None), mine_options(rows, **options), with_vectors=False, stages=Stages())


def test_a_random_share_follows_the_hard_ones_whatever_the_shards(tmp_path: Path) -> None:
    house = House(tmp_path)
    answers = []
    for shards in (1, 2, 8):
        made = house.create(f"of-{shards}", shards=shards)
        upsert(made, np.arange(COUNT), np.random.default_rng(0).standard_normal((COUNT, 8)))
        got = mine(made, k=8, policy=Mixed(0.5, Top()))
        np.testing.assert_array_equal(got.ids[:, :4], mine(made, k=4).ids)
        assert got.filled == (Filled.FULL,) * 3
        assert len({tuple(row[4:]) for row in got.ids.tolist()}) == 3
        answers.append(got.ids)
    house.close()
    for other in answers[1:]:
        np.testing.assert_array_equal(answers[0], other)


def test_items_that_go_while_they_are_drawn_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    made = house.create()
    upsert(made, np.arange(20), np.random.default_rng(0).standard_normal((20, 8)))
    draw = made.engine.draw

    def draw_and_delete(seed: int, low: int, n: int) -> Any:
        drawn = draw(seed, low, n)
        for sent in made.delete(drawn[0], None, None):
            sent.outcome.result(30)
        return drawn

    monkeypatch.setattr(made.engine, "draw", draw_and_delete)
    got = mine(made, k=4, policy=Mixed(1, Top()))
    assert got.counts.tolist() == [0, 0, 0]
    assert set(got.filled) == {Filled.EXHAUSTED}
    house.close()


def test_all_that_may_be_had_is_found_and_evenly(tmp_path: Path) -> None:
    house = House(tmp_path)
    made = house.create(store=VectorStore.FLOAT32)
    upsert(made, np.arange(COUNT), np.random.default_rng(0).standard_normal((COUNT, 8)))
    exact: dict[str, Any] = {"scoring": Scoring.FLOAT, "protection": Protection(max_score=-0.3)}
    every, hardest = mine(made, k=1000, policy=Mixed(1, Top()), **exact), mine(made, k=1000, **exact)
    for row, wanted in zip(every.ids.tolist(), hardest.ids.tolist(), strict=True):
        assert set(row) == set(wanted)
    few = mine(made, 20, k=1, policy=Mixed(1, Top()), scoring=Scoring.FLOAT, protection=Protection(max_score=-0.8))
    hardest = mine(made, 20, k=1, scoring=Scoring.FLOAT, protection=Protection(max_score=-0.8))
    assert few.filled == hardest.filled
    counts = np.zeros(COUNT)
    for seed in range(200):
        counts[mine(made, 1, k=100, seed=seed, policy=Mixed(1, Top())).ids[0]] += 1
    spread = np.sqrt(200 * 0.05 * 0.95)
    assert abs(counts.std() / spread - 1) < 0.1
    bounded = mine(
        made, k=8, policy=Mixed(1, Top()), protection=Protection(max_score=-0.99), max_scanned=64, rescore=True
    )
    assert set(bounded.filled) == {Filled.BUDGET}
    assert set(mine(made, k=8, policy=Mixed(1, Top()), protection=Protection(max_score=-0.99)).filled) == {
        Filled.EXHAUSTED
    }
    house.close()
