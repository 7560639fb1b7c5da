"""A window of exact scores cuts estimates as far as they are likely to be off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from house import House, mine_options, upsert
from negmine_server.domain import Negatives, Scoring, VectorStore
from negmine_server.encode import Anchors
from negmine_server.metrics import Stages
from negmine_server.select.protection import Protection

DIMENSION = 64


@pytest.mark.parametrize("scoring", [Scoring.ASYMMETRIC, Scoring.SYMMETRIC])
def test_a_ceiling_that_near_duplicates_keep_does_not_cut_them(tmp_path: Path, scoring: Scoring) -> None:
    random = np.random.default_rng(0)
    anchors = random.standard_normal((4, DIMENSION)).astype(np.float32)
    noise = random.uniform(0, 0.15, (4, 100, 1)) * random.standard_normal((4, 100, DIMENSION))
    house = House(tmp_path)
    made = house.create(store=VectorStore.FLOAT32, dimension=DIMENSION)
    upsert(made, np.arange(400), (anchors[:, None] + noise).reshape(-1, DIMENSION))

    def mine(**changes: Any) -> Negatives:
        options = mine_options(4, k=50, scoring=scoring, rescore=True, **changes)
        return made.mine(Anchors(anchors, None, None), options, with_vectors=False, stages=Stages())

    every = mine()
    np.testing.assert_array_equal(mine(protection=Protection(max_score=1.001)).ids, every.ids)
    below = mine(protection=Protection(max_score=0.9995))
    for row in range(4):
        missing = set(every.ids[row, every.scores[row] <= 0.9995].tolist()) - set(below.ids[row].tolist())
        assert len(missing) <= 2  # 2 standard errors
    assert (below.scores <= 0.9995).all()
    house.close()
