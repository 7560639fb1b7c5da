from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import negmine
import numpy as np
import pytest
from command_line import Ran
from made_files import write_parquet


@pytest.fixture
def anchors(tmp_path: Path, vectors: np.ndarray) -> Path:
    return write_parquet(tmp_path / "anchors.parquet", id=np.arange(200), embedding=vectors, group=np.arange(200) % 4)


def test_both_ways_are_measured(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, vectors: np.ndarray
) -> None:
    command = ("compare", filled.name, anchors, "-k", 5, "--sample", 0, "--batch-rows", 64)
    ran = cli(*command, "--a", "exact=yes", "--b", "range_min=2 exact=yes allow_same_group=no", "--json")
    assert ran.err == ""
    own, groups = np.arange(200), np.arange(200) % 4
    a = filled.mine(vectors, 5, own_ids=own, groups=groups, exclude_same_group=False, exact=True)
    b = filled.mine(vectors, 5, own_ids=own, groups=groups, policy=negmine.Window(2, 7), exact=True)
    held = ran.json
    for name, mined in (("a", a), ("b", b)):
        assert held[name]["score_mean"] == pytest.approx(float(mined.scores.mean()), abs=1e-6)
        assert held[name]["false_negative_rate"] == pytest.approx((mined.ids % 4 == groups[:, None]).mean())
        assert held[name]["judged"] == 1000
    assert held["b"]["false_negative_rate"] == 0 < held["a"]["false_negative_rate"]
    shared = [len(set(one) & set(other)) for one, other in zip(a.ids.tolist(), b.ids.tolist(), strict=True)]
    assert held["overlap"]["mean"] == pytest.approx(np.mean(shared) / 5)


def test_the_same_way_twice_shares_everything(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    way = "range_max=50 sampling_strategy=random exact=yes"
    command = ("compare", filled.name, anchors, "-k", 5, "--sample", 50, "--a", way, "--plot", tmp_path / "out.png")
    ran = cli(*command, "--b", way, "--json")
    assert (ran.json["anchors"], ran.json["overlap"]["mean"]) == (50, 1)
    assert ran.json["plot"] == str(tmp_path / "out.png")
    assert (tmp_path / "out.png").stat().st_size > 10_000
    table = cli(*command, "--b", way + " seed=1").out
    assert "false negatives" in table
    assert "Jaccard" in table


def test_what_is_not_known_is_said(
    cli: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", vectors)
    command = ("compare", filled.name, tmp_path / "a.npy", "--queries", "--sample", 9)
    ran = cli(*command, "--a", "", "--b", "rescore=no", "--json")
    assert "the anchors have no labels" in ran.err
    assert "one way's scores are exact and the other's estimated" in ran.err
    assert ran.json["a"]["false_negative_rate"] is None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--a", "", "--b", "nope=1"), "--b 'nope=1': policy top has no setting 'nope'"),
        (("--a", "percent_of_positive=0.9", "--b", ""), "--percent-of-positive compares with the anchors' positives"),
        (("--a", "", "--b", "", "--plot", "out.gif"), "--plot out.gif ends in '.gif'"),
        (("--a", "", "--b", "", "-k", 100_000), "k is 100000"),
        (("--a", "", "--b", "max_score=nan"), "max_score"),
    ],
)
def test_mistakes(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, options: tuple[object, ...], said: str
) -> None:
    ran = cli("compare", filled.name, anchors, *options)
    assert ran.code == 2
    assert said in ran.complaint
