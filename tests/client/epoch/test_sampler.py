"""The sampler of batches: equal, disjoint parts on every rank, and a DataLoader that takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from negmine import InvalidInput, epoch


@dataclass(frozen=True)
class Rank:
    """One of several; a plan asks for nothing else."""

    rank: int
    count: int

    def gather(self, value: Any) -> list[Any]:
        raise AssertionError("a plan exchanges nothing")


def neighbours(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, size, size=(size, 16), dtype=np.int32)


SMALL = epoch.Recipe(nearest=4, random=4, pool=16)


@given(
    st.integers(1, 80), st.integers(1, 6), st.integers(1, 4), st.integers(1, 80), st.booleans(), st.integers(0, 2**32)
)
def test_ranks_share_out_the_plan(size: int, batch: int, count: int, names: int, drop_last: bool, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(-1, names, size=size)
    assume(len(set(labels[labels >= 0])) + (labels == -1).sum() >= batch * count)
    recipe = replace(SMALL, drop_last=drop_last)
    samplers = [
        epoch.BatchSampler(size, batch, labels=labels, seed=seed, recipe=recipe, ranks=Rank(rank, count))
        for rank in range(count)
    ]
    for sampler in samplers:
        sampler.set_epoch(3)
        sampler.update(neighbours(size, seed))
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(sampler) for sampler in samplers} == {len(samplers[0].plan)}
    for step, whole in enumerate(samplers[0].plan):
        assert len({len(part[step]) for part in parts}) == 1
        assert [row for part in parts for row in part[step]] == whole
        assert whole
        held = [label for label in labels[whole] if label != -1]
        assert len(set(held)) == len(held)
    rows = [row for part in parts for rows in part for row in rows]
    assert len(set(rows)) == len(rows)


def test_the_plan_follows_from_seed_epoch_and_neighbours() -> None:
    def plan(seed: int = 0, number: int = 0, table: int | None = None) -> list[list[int]]:
        sampler = epoch.BatchSampler(100, 10, seed=seed, recipe=SMALL)
        sampler.set_epoch(number)
        sampler.update(None if table is None else neighbours(100, table))
        return sampler.plan

    assert plan(1, 2, 3) == plan(1, 2, 3)
    assert plan() == plan()
    plans = [plan(), plan(seed=1), plan(number=1), plan(table=0), plan(table=1)]
    assert all(one != other for place, one in enumerate(plans) for other in plans[:place])


def test_an_epoch_under_way_keeps_its_plan() -> None:
    sampler = epoch.BatchSampler(40, 4)
    plan = sampler.plan
    steps = iter(sampler)
    first = next(steps)
    sampler.set_epoch(1)
    sampler.update(neighbours(40))
    assert [first, *steps] == plan
    assert list(sampler) != plan


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_takes_it(workers: int) -> None:
    data = pytest.importorskip("torch.utils.data", reason="the sampler is for PyTorch's DataLoader")
    sampler = epoch.BatchSampler(64, 8, recipe=SMALL)
    loader = data.DataLoader(range(64), batch_sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
    for number in range(2):
        sampler.set_epoch(number)
        assert len(loader) == 8
        got = [batch.tolist() for batch in loader]
        assert got == sampler.plan
        assert sorted(row for batch in got for row in batch) == list(range(64))
        sampler.update(neighbours(64))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (np.zeros((9, 4), np.int32), r"shape \(9, 4\)"),
        (np.zeros(10, np.int32), r"shape \(10,\)"),
        (np.full((10, 4), 10, np.int32), "holds 10 to 10; expected -1 to 9"),
        (np.full((10, 4), -2, np.int32), "holds -2 to -2"),
    ],
)
def test_neighbours_that_do_not_fit(table: np.ndarray, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        epoch.BatchSampler(10, 2).update(table)


def test_a_batch_that_can_never_be_full() -> None:
    with pytest.raises(InvalidInput, match="batch_size is 4 on 1 ranks and the items have 3 labels"):
        epoch.BatchSampler(100, 4, labels=np.arange(100) % 3)
    with pytest.raises(InvalidInput, match="batch_size is 3 on 2 ranks and the items have 5 labels"):
        epoch.BatchSampler(5, 3, ranks=Rank(0, 2))
    with pytest.raises(InvalidInput, match="batch_size is 0"):
        epoch.BatchSampler(5, 0)
    with pytest.raises(InvalidInput, match="labels"):
        epoch.BatchSampler(5, 2, labels=[1, 2])
