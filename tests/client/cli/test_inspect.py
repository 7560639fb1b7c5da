from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import negmine
import numpy as np
import pytest
from command_line import Ran
from made_files import write_lines, write_parquet


@pytest.fixture
def anchors(tmp_path: Path, vectors: np.ndarray) -> Path:
    positives = [[(number + 1) % 200, (number + 2) % 200] for number in range(200)]
    return write_parquet(
        tmp_path / "anchors.parquet",
        id=np.arange(200),
        embedding=vectors,
        positives=positives,
        group=np.arange(200) % 4,
    )


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "texts.jsonl", *({"id": number, "text": f"text {number}"} for number in range(200)))


def test_what_the_server_explains_is_shown(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, texts: Path, vectors: np.ndarray
) -> None:
    options = ("-k", 3, "--candidates", 40, "--max-score", 0.5, "--exact", "--sidecar", texts)
    ran = cli("inspect", filled.name, anchors, "--ids", "9,3", *options, "--json")
    assert ran.err == ""
    held = ran.json["anchors"]
    assert [card["id"] for card in held] == [9, 3]
    expected = filled.explain(
        vectors[[9, 3]],
        3,
        candidates=40,
        own_ids=[9, 3],
        positives=[[10, 11], [4, 5]],
        groups=[1, 3],
        protection=negmine.Protection(max_score=0.5),
        exact=True,
    )
    for row, card in enumerate(held):
        nearest = [candidate for candidate in card["candidates"] if candidate["rank"] is not None]
        assert [candidate["id"] for candidate in nearest] == expected.ids[row].tolist()
        assert nearest[0]["verdict"] == "own id"
        returned = {candidate["id"] for candidate in card["candidates"] if candidate["verdict"] == "picked"}
        assert returned == set(expected.negatives.ids[row].tolist())
        assert {candidate["group"] for candidate in nearest if candidate["verdict"] == "same group"} == {card["group"]}
        assert card["ceiling"] == 0.5
        assert all(candidate["text"] == f"text {candidate['id']}" for candidate in card["candidates"])
    assert sum(ran.json["verdicts"].values()) == sum(len(card["candidates"]) for card in held)
    table = cli("inspect", filled.name, anchors, "--ids", "9,3", *options).out
    assert "anchor 9  text 9  (group 1)" in table
    assert "max score" in table


def test_a_sample_is_drawn_by_the_seed(cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path) -> None:
    command = ("inspect", filled.name, anchors, "--sample", 3, "--candidates", 4, "--exact", "--json")
    drawn = [[card["id"] for card in cli(*command, "--seed", seed).json["anchors"]] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_page_is_written(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, texts: Path, tmp_path: Path
) -> None:
    page = tmp_path / "out.html"
    ran = cli("inspect", filled.name, anchors, "--sample", 2, "--sidecar", texts, "--html", page)
    assert ran.code == 0
    assert ran.out == ""
    assert f"{page}: 2 anchors" in ran.complaint
    assert page.read_text().startswith("<!doctype html>")
    ran = cli("inspect", filled.name, anchors, "--sample", 2, "--html", page, "--json", "--quiet")
    assert ran.json["collection"] == filled.name
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_queries_have_texts_of_their_own(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, texts: Path, tmp_path: Path
) -> None:
    questions = write_lines(tmp_path / "q.jsonl", {"id": 9, "text": "question 9"})
    command = ("inspect", filled.name, anchors, "--ids", 9, "--queries", "--sidecar", texts, "--json", "--exact")
    assert cli(*command).json["anchors"][0]["text"] is None
    card = cli(*command, "--query-sidecar", questions).json["anchors"][0]
    assert card["text"] == "question 9"
    assert (card["candidates"][0]["id"], card["candidates"][0]["verdict"]) == (9, "same group")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--html", "out.pdf"), "--html out.pdf ends in '.pdf'; expected .html"),
        (("--html", "/none/out.html"), "there is no folder /none"),
        (("--ids", "5,700"), "--ids: id 700 is not among the anchors"),
        (("--ids", "x"), "'x' is not an id"),
        (("--text-column", "t"), "--text-column is 't' without --sidecar"),
        (("--policy", "top", "--policy-option", "beta=1"), "policy top has no setting 'beta'; it has none"),
        (("--sidecar", "none.tsv"), "none.tsv cannot be read: No such file or directory"),
        (("--candidates", "1000000"), "candidates"),
        (("--positives", "nope"), "has no column 'nope'"),
    ],
)
def test_mistakes(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, options: tuple[str, ...], said: str
) -> None:
    ran = cli("inspect", filled.name, anchors, "--sample", 1, *options)
    assert ran.code == 2
    assert said in ran.complaint


def test_items_without_a_text_are_named(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, tmp_path: Path
) -> None:
    texts = write_lines(tmp_path / "few.jsonl", *({"id": number, "text": "t"} for number in range(199)))
    ran = cli("inspect", filled.name, anchors, "--ids", 199, "--sidecar", texts, "--html", tmp_path / "out.html")
    assert ran.code == 2
    assert "few.jsonl: id 199 is not in the column 'id'" in ran.complaint
    assert not (tmp_path / "out.html").exists()
