"""Miners against a real server: neighbours are the true ones, of the newest embeddings, and never a positive."""

from __future__ import annotations

from typing import Any

import negmine
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from negmine import epoch

SIZE, DIMENSION = 300, 16
LABELS = np.arange(SIZE) // 4


def vectors(seed: int = 0) -> np.ndarray:
    made: np.ndarray = np.random.default_rng(seed).normal(size=(SIZE, DIMENSION)).astype(np.float32)
    return made


def exact(anchors: np.ndarray, items: np.ndarray, k: int, banned: np.ndarray) -> np.ndarray:
    """The k most similar items [n, k] by cosine that are not banned [n, n]."""
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (anchors, items)]
    scores = np.where(banned, -np.inf, unit[0] @ unit[1].T)
    order: np.ndarray = np.argsort(-scores, axis=1)[:, :k]
    return order


SAME_LABEL = LABELS[:, None] == LABELS
OWN = np.eye(SIZE, dtype=bool)


def show(miner: epoch.Miner, rows: np.ndarray, anchors: np.ndarray, items: Any = None, step: int = 1) -> None:
    for part in np.array_split(rows, 5):
        miner.add(part, anchors[part], None if items is None else items[part], step=step)


def test_exact_incremental_finds_the_true_neighbours(fresh: negmine.Collection) -> None:
    with epoch.Incremental(fresh, SIZE, labels=LABELS, neighbours=8, options={"scoring": "float"}) as miner:
        show(miner, np.arange(SIZE), vectors())
        found = miner.mine()
    assert found.dtype == np.int32
    assert (found == exact(vectors(), vectors(), 8, SAME_LABEL)).all()
    assert (fresh.fetch(np.arange(SIZE)).groups == LABELS).all()
    assert (fresh.fetch(np.arange(SIZE)).steps == 1).all()


def test_queries_find_references(fresh: negmine.Collection) -> None:
    """Pair i: query i and reference i. References are mined, the own one excluded, and further positives too."""
    queries, references = vectors(1), vectors(2)
    positives = np.stack([np.arange(SIZE), (np.arange(SIZE) + 1) % SIZE], 1)
    positives[0] = (0, -1)
    with epoch.Incremental(fresh, SIZE, positives=positives, neighbours=8, options={"scoring": "float"}) as miner:
        show(miner, np.arange(SIZE), queries, references)
        found = miner.mine()
    banned = OWN | np.roll(OWN, 1, axis=1)
    banned[0, 1] = False
    assert (found == exact(queries, references, 8, banned)).all()


@pytest.mark.parametrize(("scoring", "least"), [("symmetric", 0.4), ("asymmetric", 0.6)])
def test_codes_find_most_of_them(fresh: negmine.Collection, scoring: negmine._models.ScoringName, least: float) -> None:
    options: negmine.MineOptions = {"scoring": scoring, "rescore": False, "exact": True}
    with epoch.Incremental(fresh, SIZE, labels=LABELS, neighbours=16, options=options) as miner:
        show(miner, np.arange(SIZE), vectors())
        found = miner.mine()
    wanted = exact(vectors(), vectors(), 16, SAME_LABEL)
    overlap = np.mean([len(set(a) & set(b)) / 16 for a, b in zip(found.tolist(), wanted.tolist(), strict=True)])
    assert least < overlap < 0.99
    assert not (LABELS[found] == LABELS[:, None]).any()


def test_the_newest_embedding_of_a_row_is_the_anchor(fresh: negmine.Collection) -> None:
    with epoch.Incremental(fresh, SIZE, neighbours=4, options={"scoring": "float"}) as miner:
        show(miner, np.arange(SIZE), vectors(1), step=1)
        show(miner, np.arange(SIZE), vectors(2), step=2)
        assert (miner.mine() == exact(vectors(2), vectors(2), 4, OWN)).all()


def test_rows_that_were_not_shown_keep_their_neighbours(fresh: negmine.Collection) -> None:
    shown = np.arange(0, SIZE, 2)
    with epoch.Incremental(fresh, SIZE, neighbours=4, options={"scoring": "float"}) as miner:
        show(miner, np.arange(0, 200), vectors(1))
        first = miner.mine()
        assert (first[200:] == -1).all()
        assert (first[:200] < 200).all()
        show(miner, shown, vectors(2), step=2)
        second = miner.mine()
        assert (second[1:200:2] == first[1:200:2]).all()
        assert (second[201::2] == -1).all()
        assert (miner.mine() == second).all()  # nothing was added
    there = np.where((np.arange(SIZE) % 2 == 0)[:, None], vectors(2), vectors(1))
    gone = (np.arange(SIZE) >= 200) & (np.arange(SIZE) % 2 == 1)
    assert (second[shown] == exact(there, there, 4, OWN | gone)[shown]).all()


def test_few_items_leave_places_empty(fresh: negmine.Collection) -> None:
    with epoch.Incremental(fresh, 3, neighbours=4, options={"scoring": "float"}) as miner:
        miner.add(np.arange(3), vectors()[:3], step=1)
        found = miner.mine()
    assert (np.sort(found, axis=1) == [[-1, -1, 1, 2], [-1, -1, 0, 2], [-1, -1, 0, 1]]).all()


def test_full_encodes_everything_anew(fresh: negmine.Collection) -> None:
    asked: list[np.ndarray] = []

    def encode(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(rows)
        return vectors(1)[rows], vectors(2)[rows]

    with epoch.Full(fresh, SIZE, encode, labels=LABELS, neighbours=8, block_rows=128) as miner:
        miner.add(np.arange(5), vectors(3)[:5], step=7)  # what the epoch made is not mined
        found = miner.mine()
    assert np.concatenate(asked).tolist() == list(range(SIZE))
    assert (found == exact(vectors(1), vectors(2), 8, SAME_LABEL)).all()
    assert (fresh.fetch(np.arange(SIZE)).steps == 7).all()


def test_random_has_no_neighbours() -> None:
    with epoch.Random() as miner:
        miner.add(np.arange(3), vectors()[:3], step=1)
        assert miner.mine() is None


def test_tensors_and_changed_arrays(fresh: negmine.Collection) -> None:
    torch = pytest.importorskip("torch", reason="the loop takes tensors where torch is installed")
    with epoch.Incremental(fresh, SIZE, neighbours=4, options={"scoring": "float"}) as miner:
        buffer = torch.empty(SIZE, DIMENSION, requires_grad=True)
        with torch.no_grad():
            buffer.copy_(torch.from_numpy(vectors()))
        miner.add(torch.arange(SIZE), buffer, step=1)
        with torch.no_grad():
            buffer.zero_()  # a trainer may use its memory again
        assert (miner.mine() == exact(vectors(), vectors(), 4, OWN)).all()


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 99), st.integers(1, 20), st.integers(1, 6))
def test_the_loop_from_end_to_end(fresh: negmine.Collection, seed: int, names: int, batch: int) -> None:
    """Batches that were composed from a server's answers keep every promise."""
    labels = np.random.default_rng(seed).integers(names, size=60)
    if len(set(labels)) < batch:
        return
    fresh.start_generation()
    fresh.upsert(np.arange(60), vectors()[:60], groups=labels)  # over what the last example left, of other labels
    sampler = epoch.BatchSampler(60, batch, labels=labels, seed=seed, recipe=epoch.Recipe(4, 4, 16, drop_last=False))
    with epoch.Incremental(fresh, 60, labels=labels, neighbours=16) as miner:
        for number in range(2):
            sampler.set_epoch(number)
            for rows in sampler:
                assert len(set(labels[rows])) == len(rows)
                miner.add(rows, vectors(number)[rows], step=number)
            shown = [row for rows in sampler for row in rows]
            assert len(set(shown)) == len(shown)
            table = miner.mine()
            assert not ((labels[table] == labels[:, None]) & (table >= 0)).any()
            sampler.update(table)


def test_a_collection_of_others_is_refused(fresh: negmine.Collection) -> None:
    fresh.upsert([5000], vectors()[:1])
    with epoch.Incremental(fresh, SIZE, neighbours=8) as miner:
        show(miner, np.arange(SIZE), vectors())
        with pytest.raises(negmine.InvalidInput, match="holds id 5000, and the dataset 300 items"):
            miner.mine()


def test_arguments_that_do_not_fit(fresh: negmine.Collection) -> None:
    with pytest.raises(negmine.InvalidInput, match="options hold groups, own_ids, which the loop fills in"):
        epoch.Incremental(fresh, SIZE, options={"own_ids": [1], "groups": [1]})
    with pytest.raises(negmine.InvalidInput, match=r"positives has shape \(3,\); expected \[300, p\]"):
        epoch.Incremental(fresh, SIZE, positives=[1, 2, 3])
    with epoch.Incremental(fresh, SIZE) as miner:
        with pytest.raises(negmine.InvalidInput, match="rows hold 299 to 300; expected 0 to 299"):
            miner.add([299, 300], vectors()[:2], step=0)
        with pytest.raises(negmine.InvalidInput, match="rows hold -1 to 0"):
            miner.add([-1, 0], vectors()[:2], step=0)
        with pytest.raises(negmine.InvalidInput, match=r"anchors has shape \(3, 16\); expected \[2, d\]"):
            miner.add([0, 1], vectors()[:3], step=0)


def test_an_upsert_that_failed_is_raised_by_mine(fresh: negmine.Collection) -> None:
    with epoch.Incremental(fresh, SIZE) as miner:
        miner.add([0, 1], vectors()[:2, :5], step=0)
        with pytest.raises(negmine.InvalidInput, match=r"has shape \[2, 5\]; expected \[n, 16\]"):
            miner.mine()
