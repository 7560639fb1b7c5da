"""Greedy composition: what never happens, whatever the neighbours; and that neighbours come together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine import InvalidInput
from negmine.epoch.compose import Recipe, compose, dense, pick


class Case(NamedTuple):
    labels: np.ndarray
    neighbours: np.ndarray | None
    batch_size: int
    recipe: Recipe
    seed: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = random.integers(-1, draw(st.integers(1, 60)), size=count)
    neighbours = None
    if draw(st.booleans()):
        neighbours = random.integers(-1, count, size=(count, draw(st.integers(0, 12))), dtype=np.int32)
    nearest, others = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    recipe = Recipe(
        nearest, others, draw(st.integers(nearest + others, 12)), draw(st.integers(1, 20)), draw(st.booleans())
    )
    return Case(labels, neighbours, draw(st.integers(1, 10)), recipe, draw(st.integers(0, 2**32)))


def composed(case: Case) -> list[list[int]]:
    random = np.random.default_rng(case.seed)
    return compose(case.labels, case.neighbours, case.batch_size, case.recipe, random)


@given(cases())
def test_no_index_twice_and_no_label_twice_in_a_batch(case: Case) -> None:
    batches = composed(case)
    rows = [row for batch in batches for row in batch]
    assert len(set(rows)) == len(rows)
    assert all(0 <= row < len(case.labels) for row in rows)
    for batch in batches:
        labels = [case.labels[row] for row in batch if case.labels[row] != -1]
        assert len(set(labels)) == len(labels)
    full = batches if case.recipe.drop_last else batches[:-1]
    assert all(len(batch) == case.batch_size for batch in full)
    assert all(0 < len(batch) <= case.batch_size for batch in batches)


@given(cases())
def test_the_same_seed_gives_the_same_batches(case: Case) -> None:
    assert composed(case) == composed(case)


@given(cases())
def test_without_labels_nothing_is_left_out_but_the_last_batch(case: Case) -> None:
    """No anchor misses then: what is used already is passed over."""
    batches = composed(case._replace(labels=np.full(len(case.labels), -1)))
    left = len(case.labels) % case.batch_size if case.recipe.drop_last else 0
    assert sum(map(len, batches)) == len(case.labels) - left


@given(st.integers(0, 99))
def test_id_0_is_an_id_like_any_other(seed: int) -> None:
    """Everybody's only neighbour is 0: it comes second in the first batch, unless it is the first anchor itself."""
    neighbours = np.zeros((8, 1), np.int32)
    batches = compose(np.full(8, -1), neighbours, 4, Recipe(nearest=1, random=0, pool=1), np.random.default_rng(seed))
    assert 0 in batches[0][:2]


def test_neighbours_share_a_batch() -> None:
    """Items of a clan are each other's neighbours, and a batch holds one clan: every batch is one clan."""
    clan = np.arange(160) // 8
    neighbours = np.array([[other for other in range(160) if clan[other] == clan[row] and other != row]
                           for row in range(160)], np.int32)  # fmt: skip
    batches = compose(np.full(160, -1), neighbours, 8, Recipe(4, 3, 7), np.random.default_rng(0))
    assert len(batches) == 20
    assert all(len({clan[row] for row in batch}) == 1 for batch in batches)
    mixed = compose(np.full(160, -1), None, 8, Recipe(), np.random.default_rng(0))
    assert sum(len({clan[row] for row in batch}) for batch in mixed) > 100


def test_an_epoch_ends_after_misses_in_a_row() -> None:
    """One label has more items than there are batches for: they are put back until the count is reached."""
    labels = np.array([0] * 50 + list(range(1, 31)))
    batches = compose(labels, None, 4, Recipe(drop_last=False), np.random.default_rng(0))
    assert sum(0 in labels[batch] for batch in batches) == len(batches)
    assert len(batches) < 50
    hasty = compose(labels, None, 4, Recipe(misses_max=1), np.random.default_rng(0))
    assert len(hasty) < len(batches)


@given(st.integers(0, 40), st.integers(0, 6), st.integers(0, 6), st.integers(0, 4), st.integers(0, 2**32))
def test_picks_are_the_nearest_and_some_of_the_next(
    width: int, nearest: int, others: int, spare: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    recipe = Recipe(nearest, others, nearest + others + spare)
    table = np.argsort(random.random((5, 50)), axis=1).astype(np.int32)[:, :width]
    held = random.integers(0, width + 1, size=5)
    table[np.arange(width) >= held[:, None]] = -1
    picked = pick(table, recipe, random)
    assert picked.shape == (5, nearest + others)
    for row, got in enumerate(picked):
        have = table[row, : min(held[row], recipe.pool)].tolist()
        assert [other for other in got[:nearest].tolist() if other >= 0] == have[:nearest]
        drawn = [other for other in got[nearest:].tolist() if other >= 0]
        assert len(drawn) == len(set(drawn)) == min(others, len(have[nearest:]))
        assert set(drawn) <= set(have[nearest:])


def test_every_next_rank_is_drawn_about_equally_often() -> None:
    table = np.tile(np.arange(128, dtype=np.int32), (20000, 1))
    picked = pick(table, Recipe(), np.random.default_rng(0))
    assert (picked[:, :32] == np.arange(32)).all()
    times = np.bincount(picked[:, 32:].reshape(-1), minlength=128)[32:]
    assert np.abs(times / 20000 - 1 / 3).max() < 0.02


def test_labels_are_renamed_and_minus_one_is_alone() -> None:
    renamed, names = dense(np.array([7, -1, 3, 7, -1]))
    assert names == 4
    assert renamed[0] == renamed[3]
    assert len(set(renamed)) == names
    assert sorted(set(renamed)) == [0, 1, 2, 3]
    assert dense(np.empty(0, np.int64)) == ([], 0)


@pytest.mark.parametrize("wrong", [{"nearest": -1}, {"random": -2}, {"nearest": 100, "random": 29}, {"misses_max": 0}])
def test_a_recipe_that_makes_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=str(next(iter(wrong.values())))):
        Recipe(**wrong)  # type: ignore[arg-type]
