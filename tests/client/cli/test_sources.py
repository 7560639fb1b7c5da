from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_files import write_lines, write_parquet
from negmine.cli.mistakes import Mistake
from negmine.cli.read_numpy import NpyFile
from negmine.cli.rows import AnchorColumns, ItemColumns
from negmine.cli.sources import Sources, read_ids

ITEMS = ItemColumns().named()


def test_files_of_all_kinds_are_one_stream(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", vectors[:50])
    np.savez(tmp_path / "b.npz", embeddings=vectors[50:100], ids=np.arange(1000, 1050))
    write_parquet(tmp_path / "c.parquet", embedding=vectors[100:150])
    write_lines(tmp_path / "d.jsonl", *({"embedding": row.tolist()} for row in vectors[150:]))
    paths = [str(path) for path in sorted(tmp_path.iterdir())]
    with Sources(paths, ITEMS, first_id=7) as sources:
        parts = list(sources.chunks())
        assert (sources.dimension, sources.rows_total()) == (16, 200)
        assert sources.has("id")
        assert not sources.has("group")
    np.testing.assert_array_equal(np.concatenate([part.embeddings for part in parts]), vectors)
    ids = np.concatenate([part.ids for part in parts]).tolist()
    assert ids == [*range(7, 57), *range(1000, 1050), *range(107, 207)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.npy", "none.npy cannot be read: No such file or directory"),
        ("none.jsonl", "none.jsonl cannot be read: No such file"),
        ("none.parquet", "none.parquet cannot be read"),
        ("none.npz", "none.npz cannot be read: No such file"),
        ("x.csv", "ends in '.csv'; expected .npy, .npz, .parquet or .jsonl, or - for stdin"),
        ("x", "ends in 'nothing'"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        Sources([str(tmp_path / name)], ITEMS)


def test_files_of_different_dimensions(tmp_path: Path, vectors: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", vectors)
    np.save(tmp_path / "b.npy", vectors[:, :8])
    with pytest.raises(Mistake, match=r"b.npy has dimension 8, and .*a.npy has 16; expected the same"):
        Sources([str(tmp_path / "a.npy"), str(tmp_path / "b.npy")], ITEMS)


def test_stdin_once() -> None:
    with pytest.raises(Mistake, match="stdin"):
        Sources(["-", "-"], ITEMS)


def test_ids_from_arguments_and_files(tmp_path: Path) -> None:
    assert read_ids([3, 1], None).tolist() == [3, 1]
    np.save(tmp_path / "ids.npy", np.array([5, 6]))
    assert read_ids([], str(tmp_path / "ids.npy")).tolist() == [5, 6]
    (tmp_path / "ids.txt").write_text("7\n\n 8 \n")
    assert read_ids([], str(tmp_path / "ids.txt")).tolist() == [7, 8]


def test_ids_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "ids.txt"
    for content, said in (("1\nx2\n", "line 2: 'x2' is not an id"), ("\n", "holds no ids"), ("-1\n", "not an id")):
        text.write_text(content)
        with pytest.raises(Mistake, match=said):
            read_ids([], str(text))
    with pytest.raises(Mistake, match="cannot be read"):
        read_ids([], str(tmp_path / "none"))
    for numbers, path in (([], None), ([1], "ids.txt")):
        with pytest.raises(Mistake, match="expected ids as arguments, or --ids-file"):
            read_ids(numbers, path)


def test_ignored_columns_are_told_once_a_kind(tmp_path: Path, vectors: np.ndarray) -> None:
    few = vectors[:3]
    np.save(tmp_path / "a.npy", few)
    np.savez(tmp_path / "b.npz", embeddings=few, positives=np.arange(3), positives_offsets=np.arange(4))
    write_parquet(tmp_path / "c.parquet", id=[0, 1, 2], embedding=few, label=[1, 1, 2], text=["a", "b", "c"])
    write_lines(tmp_path / "d.jsonl", {"label": 3, "embedding": few[0].tolist(), "id": 9, "text": "x"})
    write_lines(tmp_path / "e.jsonl", {"embedding": few[0].tolist(), "group": 1, "text": "x"})
    names = ["a.npy", "b.npz", "c.parquet", "d.jsonl", "e.jsonl"]
    paths = {name: str(tmp_path / name) for name in names}
    b = paths["b.npz"]
    with Sources(list(paths.values()), ITEMS) as sources:
        assert sources.ignored() == [
            f"{b}: columns used: embeddings; ignored: positives, positives_offsets (name one by --group-column)",
            f"{paths['c.parquet']}: columns used: id, embedding; ignored: label, text (name one by --group-column)",
            f"{paths['e.jsonl']}: columns used: embedding, group; ignored: text",
        ]
    anchors = AnchorColumns(group_column="label").named()
    with Sources([paths["c.parquet"]], anchors) as sources:
        assert sources.ignored() == ["columns used: id, embedding, label; ignored: text (name it by --positives)"]
    with Sources([paths["b.npz"]], AnchorColumns().named()) as sources:
        assert sources.ignored() == []
    with Sources([paths["a.npy"]], ITEMS) as sources:
        assert sources.ignored() == []


def test_an_array_has_no_columns_to_name(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    for role, option in (("group", "--group-column"), ("positives", "--positives")):
        with pytest.raises(Mistake, match=f"and {option} names one"):
            NpyFile(str(tmp_path / "x.npy"), {role: "p"})
