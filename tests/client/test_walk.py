"""The denoising walk against one written as a loop, what it asks of the judge, and judges that go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import negmine
import numpy as np
import pytest
from negmine import InvalidInput, Negatives
from negmine.walk import denoise


def candidates(rows: int = 20, k: int = 50, seed: int = 0, torch: Any = None) -> Negatives:
    """Candidates in order of their scores; some rows are shorter than k."""
    random = np.random.default_rng(seed)
    ids = np.stack([random.permutation(1000)[:k] for _ in range(rows)])
    scores = -np.sort(-random.normal(size=(rows, k)).astype(np.float32), axis=1)
    counts = random.integers(0, k + 1, rows)
    counts[0] = 0
    ids[np.arange(k) >= counts[:, None]] = -1
    scores[ids < 0] = np.nan
    return hand_made(ids, scores, torch)


def hand_made(ids: np.ndarray, scores: np.ndarray, torch: Any = None) -> Negatives:
    tell = torch.from_numpy if torch else np.asarray
    others = {field.name: None for field in fields(Negatives)}
    return Negatives(**others | {"ids": tell(ids), "scores": tell(scores)})


def relevance(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Scores in [0, 1), four in ten of them below 0.1."""
    return (np.modf(np.sin(rows * 12.9898 + ids * 78.233) * 43758.5453)[0] ** 2).astype(np.float32)


def spelt_out(found: Negatives, row: int, keep: int, threshold: float) -> tuple[list[int], int]:
    """Ids kept of one anchor, and how many were dropped."""
    kept: list[int] = []
    dropped = 0
    for id_ in found.ids[row]:
        if id_ < 0 or len(kept) == keep:
            break
        if relevance(np.array(row), id_) < threshold:
            kept.append(int(id_))
        else:
            dropped += 1
    return kept, dropped


@pytest.mark.parametrize("batch_pairs", [1, 7, 1024])
def test_it_is_the_walk(batch_pairs: int) -> None:
    found = candidates()
    asked: list[tuple[int, int]] = []

    def judge(rows: np.ndarray, ids: np.ndarray) -> np.ndarray:
        assert 1 <= len(rows) <= batch_pairs
        asked.extend(zip(rows.tolist(), ids.tolist(), strict=True))
        return relevance(rows, ids)

    kept = denoise(found, judge, batch_pairs=batch_pairs)
    assert kept.ids.shape == kept.scores.shape == kept.judged.shape == (20, 4)
    for row in range(20):
        ids, dropped = spelt_out(found, row, 4, 0.1)
        count = kept.counts[row]
        assert kept.ids[row].tolist() == ids + [-1] * (4 - len(ids))
        assert (count, kept.dropped[row], kept.starved[row]) == (len(ids), dropped, len(ids) < 4)
        places = [found.ids[row].tolist().index(id_) for id_ in ids]
        np.testing.assert_array_equal(kept.scores[row, :count], found.scores[row, places])
        np.testing.assert_array_equal(kept.judged[row, :count], relevance(np.array(row), np.array(ids, np.int64)))
        assert np.isnan(kept.scores[row, count:]).all()
    assert kept.starved.any()
    assert not kept.starved.all()
    assert len(asked) == len(set(asked)) == kept.pairs == kept.counts.sum() + kept.dropped.sum()


def test_each_anchor_may_want_its_own_number() -> None:
    found = candidates()
    keep = np.arange(20) % 5 + 1
    kept = denoise(found, relevance, keep=keep, threshold=0.3)
    assert kept.ids.shape == (20, 5)
    for row in range(20):
        assert kept.ids[row, : kept.counts[row]].tolist() == spelt_out(found, row, keep[row], 0.3)[0]


def test_another_order_is_walked_hardest_first() -> None:
    found = hand_made(np.array([[5, 6, -1, 7]]), np.array([[0.2, 0.9, np.nan, 0.5]], np.float32))
    assert denoise(found, lambda rows, _: np.zeros(len(rows)), keep=2).ids.tolist() == [[6, 7]]


def test_tensors_in_tensors_out() -> None:
    torch = pytest.importorskip("torch", reason="candidates of torch anchors")
    kept = denoise(candidates(torch=torch), lambda rows, ids: torch.from_numpy(relevance(rows, ids)).bfloat16())
    plain = denoise(candidates(), relevance)
    assert isinstance(kept.ids, torch.Tensor)
    assert kept.starved.dtype == torch.bool
    assert (kept.ids.numpy() == plain.ids).all()


def test_nothing_to_walk() -> None:
    none = hand_made(np.empty((0, 50), np.int64), np.empty((0, 50), np.float32))
    assert len(denoise(none, relevance).ids) == 0
    empty = denoise(hand_made(np.full((2, 3), -1), np.full((2, 3), np.nan, np.float32)), relevance)
    assert empty.starved.all()
    assert empty.pairs == 0


def nan_at(place: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def judge(rows: np.ndarray, _ids: np.ndarray) -> np.ndarray:
        scores = np.zeros(len(rows))
        scores[place] = np.nan
        return scores

    return judge


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"judge": nan_at(1)}, "the judge scored anchor 0 with id 6 NaN"),
        ({"judge": lambda rows, _: np.zeros((len(rows), 1))}, r"judge's scores has shape \(4, 1\); expected \[4\]"),
        ({"judge": lambda rows, _: np.zeros(len(rows) - 1)}, r"judge's scores has shape \(3,\); expected \[4\]"),
        ({"judge": lambda rows, _: ["?"] * len(rows)}, "judge's scores has dtype <U1; expected floating point"),
        ({"keep": 0}, "keep is 0; expected at least 1"),
        ({"keep": np.array([1, 2])}, r"keep has shape \(2,\); expected \[1\]"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"batch_pairs": 0}, "batch_pairs is 0; expected at least 1"),
    ],
)
def test_bad_input(options: dict[str, Any], message: str) -> None:
    found = hand_made(np.array([[5, 6, 7, 8]]), np.array([[0.9, 0.5, 0.2, 0.1]], np.float32))
    with pytest.raises(InvalidInput, match=message):
        denoise(found, **{"judge": relevance} | options)


def test_candidates_without_a_score() -> None:
    found = hand_made(np.array([[5, 6]]), np.array([[0.9, np.nan]], np.float32))
    with pytest.raises(InvalidInput, match="candidate 6 of anchor 0 has score NaN"):
        denoise(found, relevance)


def test_errors_of_the_judge_are_its_own() -> None:
    with pytest.raises(ZeroDivisionError):
        denoise(candidates(), lambda _rows, _ids: 1 / 0)


def test_over_a_real_server(fresh: negmine.Collection) -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(200, 16)).astype(np.float32)
    fresh.upsert(np.arange(200), vectors)
    found = fresh.mine(vectors[:10], 50, policy=negmine.Top(), own_ids=np.arange(10))
    kept = denoise(found, lambda _rows, ids: (ids % 3 == 0).astype(np.float32))
    wanted = [[id_ for id_ in row if id_ % 3][:4] for row in found.ids.tolist()]
    assert kept.ids.tolist() == wanted
    assert not kept.starved.any()
