from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import negmine
import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import Ran
from made_files import write_lines, write_parquet
from negmine.cli.mine import described_policy

POSITIVES = [[(number + 1) % 200, (number + 2) % 200][: number % 3] for number in range(200)]


@pytest.fixture
def anchors(tmp_path: Path, vectors: np.ndarray) -> Path:
    return write_parquet(tmp_path / "anchors.parquet", id=np.arange(200), embedding=vectors, positives=POSITIVES)


def mined(collection: negmine.Collection, vectors: np.ndarray, k: int, **options) -> negmine.Negatives:
    return collection.mine(vectors, k, own_ids=np.arange(200), positives=POSITIVES, **options)


def test_an_n_tuple_file_holds_what_the_sdk_mines(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, vectors: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    ran = cli(
        "mine", filled.name, anchors, "-k", 4, "-o", out, "--format", "n-tuple", "--batch-rows", 7, "--exact", "--json"
    )
    assert ran.code == 0
    assert ran.err == ""
    expected = mined(filled, vectors, 4, exact=True)
    table = pq.read_table(out)
    first = np.concatenate([[0], np.cumsum([max(1, len(one)) for one in POSITIVES])[:-1]])
    for place in range(4):
        np.testing.assert_array_equal(table[f"negative_{place + 1}"].to_numpy()[first], expected.ids[:, place])
    assert table["anchor"].to_numpy()[first].tolist() == list(range(200))
    assert table["positive"].to_pylist() == [one for held in POSITIVES for one in held or [None]]
    scores = [row[1:] for row in table["scores"].to_pylist()]
    np.testing.assert_allclose(np.array(scores)[first], expected.scores)
    assert (ran.json["anchors"], ran.json["rows"], ran.json["starved"]) == (200, len(table), 0)


def test_provenance_says_what_decided_the_file(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, live: negmine.Client, tmp_path: Path
) -> None:
    window = ("--range-min", 2, "--range-max", 9, "--sampling-strategy", "random")
    options = ("-k", 3, *window, "--seed", 11, "--max-score", 0.9, "--exact")
    for name in ("out.parquet", "out.jsonl"):
        assert cli("mine", filled.name, anchors, "-o", tmp_path / name, *options).code == 0
    held = json.loads(pq.read_metadata(tmp_path / "out.parquet").metadata[b"negmine"])
    info = filled.info()
    assert held["collection"] == filled.name
    assert held["watermark"]["incarnation"] == info.watermark.incarnation
    assert held["encoder"] == info.fingerprint
    assert held["policy"] == {"name": "window", "range_min": 2, "range_max": 9, "sampling": "random"}
    assert held["protection"] == {"max_score": 0.9}
    assert (held["seed"], held["k"], held["scores"], held["options"]["exact"]) == (11, 3, "exact", True)
    assert held["server_version"] == live.server_info().version
    beside = json.loads((tmp_path / "out.jsonl.provenance.json").read_text())
    assert {**beside, "created": ""} == {**held, "created": ""}
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["negative"] for row in rows] == pq.read_table(tmp_path / "out.parquet")["negative"].to_pylist()


def test_what_only_fills_and_what_has_no_group_is_counted(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    fresh.upsert(range(30), vectors[:30], groups=np.where(np.arange(30) < 20, 0, -1))
    rows = write_parquet(tmp_path / "a.parquet", id=np.arange(3), embedding=vectors[:3], group=np.zeros(3, np.int64))
    options = ("-k", 4, "--min-score", 0.99, "--fill", "random", "--exact", "--json")
    ran = cli("mine", fresh.name, rows, "-o", tmp_path / "out.parquet", *options)
    assert ran.code == 0, ran.err
    assert (ran.json["fills"], ran.json["ungrouped"]) == (12, 12)
    assert json.loads(pq.read_metadata(tmp_path / "out.parquet").metadata[b"negmine"])["fills"] == 12


def test_stdin_to_stdout(piped: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray) -> None:
    text = "".join(json.dumps({"id": number, "embedding": vectors[number].tolist()}) + "\n" for number in (3, 4))
    ran = piped(
        "mine", filled.name, "-", "-o", "-", "-k", 2, "--format", "labeled-list", "--exact", "--json", stdin=text
    )
    assert ran.code == 0
    assert ran.err == ""
    expected = filled.mine(vectors[3:5], 2, own_ids=[3, 4], exact=True)
    rows = [json.loads(line) for line in ran.out.splitlines()]
    assert [row["anchor"] for row in rows] == [3, 4]
    assert [row["documents"] for row in rows] == expected.ids.tolist()
    assert [row["labels"] for row in rows] == [[0, 0]] * 2


def test_margins_groups_and_queries_reach_the_server(
    cli: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    anchors = write_parquet(
        tmp_path / "a.parquet",
        id=np.arange(200),
        vec=vectors,
        own=np.arange(200) % 4,
        answer=(np.arange(200) + 1) % 200,
    )
    named = ("--embedding-column", "vec", "--group-column", "own", "--positives", "answer")
    ran = cli("mine", filled.name, anchors, "-k", 3, "-o", out, *named, "--relative-margin", 0.1, "--exact", "--json")
    expected = filled.mine(
        vectors,
        3,
        own_ids=np.arange(200),
        groups=np.arange(200) % 4,
        positives=((np.arange(200) + 1) % 200)[:, None],
        protection=negmine.Protection(relative_margin=0.1),
        exact=True,
    )
    table = pq.read_table(out)
    assert table["negative"].to_pylist() == expected.ids[expected.ids >= 0].tolist()
    assert ran.json["drops"] == expected.drops
    np.testing.assert_allclose(
        [row[0] for row in table["scores"].to_pylist()], np.repeat(expected.positive_scores, expected.counts)
    )
    assert cli("mine", filled.name, anchors, "-k", 1, "-o", out, "--embedding-column", "vec", "--queries").code == 0
    assert pq.read_table(out)["negative"].to_pylist() == list(range(200))


def test_starved_anchors_are_said_dropped_or_fail(
    cli: Callable[..., Ran], filled: negmine.Collection, anchors: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    command = ("mine", filled.name, anchors, "-k", 199, "-o", out, "--format", "labeled-list", "--json")
    ran = cli(*command)
    full = sum(not one for one in POSITIVES)
    assert ran.code == 0
    assert ran.json["outcomes"] == {"full": full, "exhausted": 200 - full}
    assert "133 of 200 anchors have fewer negatives than asked: 133 exhausted" in ran.err
    ran = cli(*command, "--drop-starved", "--fail-starved")
    assert ran.code == 3
    assert len(out.read_text().splitlines()) == full


def test_positives_that_are_not_in_the_collection_are_said(
    cli: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    anchors = write_lines(tmp_path / "a.jsonl", {"id": 0, "embedding": vectors[0].tolist(), "positives": [1, 888, 999]})
    ran = cli("mine", filled.name, anchors, "-k", 2, "-o", tmp_path / "out.parquet", "--first-positive")
    assert ran.err == f"2 positives are not in {filled.name}; excluded all the same\n"
    assert pq.read_table(tmp_path / "out.parquet")["positive"].to_pylist() == [1, 1]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("-o", "x.csv"), 2, "expected .parquet or .jsonl"),
        (("-o", "/none/x.parquet"), 2, "there is no folder /none"),
        (("-o", "x.jsonl", "-k", "100000"), 2, "k is 100000"),
        (("-o", "x.jsonl", "--policy", "softmax", "--policy-option", "beta=-1"), 2, "policy.softmax.beta is -1"),
        (("-o", "x.jsonl", "--range-min", "5", "--range-max", "3"), 2, "policy.window is [5, 3)"),
        (("-o", "x.jsonl", "--positives", "nope"), 2, "has no column 'nope' (--positives); it has id, embedding"),
        (("-o", "x.jsonl", "--max-score", "nan"), 2, "max_score"),
    ],
)
def test_mistakes(
    cli: Callable[..., Ran],
    filled: negmine.Collection,
    anchors: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ran = cli("mine", filled.name, anchors, *options)
    assert ran.code == code
    assert said in ran.complaint
    assert list(Path().iterdir()) == []


def test_anchors_that_do_not_fit(
    cli: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    np.save(path, vectors[:, :8])
    command = ("mine", filled.name, path, "-o", tmp_path / "out.parquet")
    assert f"{path} has embeddings of dimension 8; {filled.name} has 16" in cli(*command).complaint
    np.save(path, vectors)
    said = "--percent-of-positive compares with the anchors' positives"
    assert said in cli(*command, "--percent-of-positive", 0.95).complaint
    np.save(path, vectors[:0])
    assert "no anchors to mine for" in cli(*command).complaint
    assert cli("mine", "nowhere", path, "-o", "x.parquet").code in {1, 2}


def test_ignored_columns_are_told(
    cli: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    path = write_parquet(tmp_path / "c.parquet", id=np.arange(200), embedding=vectors, label=np.arange(200) % 4)
    command = ("mine", filled.name, path, "-k", 2, "-o", tmp_path / "out.parquet")
    told = "columns used: id, embedding; ignored: label (name it by --group-column or --positives)\n"
    assert cli(*command, "--json").err == told
    assert cli(*command).err == told
    assert cli(*command, "--quiet").err == ""


def test_policies_are_described_by_their_names_on_the_command_line() -> None:
    mixed = negmine.Mixed(0.5, negmine.SemiHard(0.1))
    hard = {"name": "semi-hard", "margin": 0.1}
    assert described_policy(mixed) == {"name": "mixed", "random_share": 0.5, "hard": hard}
    assert described_policy(negmine.DistanceWeighted())["name"] == "distance-weighted"
