from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_files import write_parquet
from negmine.cli.anchor_sample import by_ids, parse_ids, request_rows, sampled, shown_ids, stacked
from negmine.cli.mistakes import Mistake
from negmine.cli.sources import Sources

NAMED: dict[str, str | None] = {"embedding": None, "id": None, "positives": None, "group": None}


@pytest.fixture
def files(tmp_path: Path, vectors: np.ndarray) -> list[str]:
    """200 anchors in two files; the first has positives, the second groups."""
    first = write_parquet(
        tmp_path / "a.parquet",
        id=np.arange(1000, 1120),
        embedding=vectors[:120],
        positives=[[7, 8][: n % 3] for n in range(120)],
    )
    second = write_parquet(
        tmp_path / "b.parquet", id=np.arange(2000, 2080), embedding=vectors[120:], group=np.arange(80) - 1
    )
    return [str(first), str(second)]


def test_a_sample_is_of_all_files_in_their_order(files: list[str]) -> None:
    with Sources(files, NAMED) as sources:
        drawn = [anchor.id for anchor in sampled(sources, 40, seed=3)]
        assert drawn == [anchor.id for anchor in sampled(sources, 40, seed=3)]
        assert drawn != [anchor.id for anchor in sampled(sources, 40, seed=4)]
        everybody = [anchor.id for anchor in sampled(sources, 0, seed=3)]
        assert [anchor.id for anchor in sampled(sources, 500, seed=3)] == everybody
    assert drawn == sorted(drawn)
    assert len(set(drawn)) == 40
    assert drawn[0] < 2000 <= drawn[-1]
    assert everybody == [*range(1000, 1120), *range(2000, 2080)]


def test_every_anchor_is_drawn_as_often(files: list[str]) -> None:
    with Sources(files, NAMED) as sources:
        counts = np.zeros(3000, int)
        for seed in range(100):
            for anchor in sampled(sources, 20, seed):
                counts[anchor.id] += 1
    held = counts[[*range(1000, 1120), *range(2000, 2080)]]
    assert held.sum() == 2000
    assert held.max() < 30  # of a binomial around 10


def test_what_a_call_says_of_them(files: list[str], vectors: np.ndarray) -> None:
    with Sources(files, NAMED) as sources:
        chosen = by_ids(sources, [2001, 1002])
    np.testing.assert_array_equal(stacked(chosen), vectors[[121, 2]])
    said = request_rows(chosen, own_ids=True)
    assert said["positives"] == [[], [7, 8]]
    np.testing.assert_array_equal(said["groups"], [0, -1])
    np.testing.assert_array_equal(said["own_ids"], [2001, 1002])
    assert "own_ids" not in request_rows(chosen, own_ids=False)
    assert set(request_rows(chosen[:1], own_ids=False)) == {"groups"}


def test_ids(files: list[str]) -> None:
    assert parse_ids("3, 17,3") == [3, 17]
    with Sources(files, NAMED) as sources, pytest.raises(Mistake, match="--ids: id 5 is not among the anchors"):
        by_ids(sources, [1000, 5])
    for text in ("", "1,,2", "-1", "1.5", "x", "9223372036854775808"):
        with pytest.raises(Mistake, match=r"is not an id; expected integers from 0, as in 3,17"):
            parse_ids(text)


def test_shown_ids() -> None:
    assert shown_ids([3, 17]) == "ids 3, 17 are"
    assert shown_ids(list(range(7))) == "ids 0, 1, 2, 3, 4 and 2 others are"
