from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import negmine
import numpy as np
import pytest
from command_line import Ran
from made_files import write_lines, write_parquet


def test_every_kind_of_file_goes_in(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", vectors[:50])
    np.savez(tmp_path / "b.npz", embeddings=vectors[50:100], ids=np.arange(50, 100), tags=np.arange(50))
    write_parquet(tmp_path / "c.parquet", key=np.arange(100, 150), embedding=vectors[100:150], group=[3] * 50)
    rows = ({"id": number, "embedding": vectors[number].tolist()} for number in range(150, 200))
    write_lines(tmp_path / "d.jsonl", *rows)
    ran = cli("upsert", fresh.name, tmp_path / "a.npy", tmp_path / "b.npz", tmp_path / "d.jsonl", "--json")
    assert ran.code == 0
    assert ran.err == ""
    assert (ran.json["rows"], ran.json["inserted"]) == (150, 150)
    ran = cli("upsert", fresh.name, tmp_path / "c.parquet", "--id-column", "key", "--step", 9)
    assert "50 in" in ran.out
    held = fresh.fetch(np.arange(200), embeddings=True)
    assert held.found.all()
    expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(held.embeddings, expected, atol=1e-6)
    assert held.tags[50:100].tolist() == list(range(50))
    assert held.groups[100:150].tolist() == [3] * 50
    assert held.steps[99:101].tolist() == [0, 9]


def test_stdin_goes_in(piped: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray) -> None:
    text = "".join(json.dumps({"id": number, "embedding": row.tolist()}) + "\n" for number, row in enumerate(vectors))
    assert piped("upsert", fresh.name, "-", "--json", stdin=text).json["inserted"] == 200
    assert fresh.info().rows == 200


def test_running_again_overwrites_and_older_steps_are_stale(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", vectors)
    command = ("upsert", fresh.name, tmp_path / "a.npy", "--json")
    assert cli(*command, "--step", 5).json["inserted"] == 200
    assert cli(*command, "--step", 5).json["overwritten"] == 200
    assert cli(*command, "--step", 4).json["stale"] == 200
    fresh.start_generation()
    assert cli(*command, "--step", 1, "--generation", 1).json["overwritten"] == 200
    assert cli(*command, "--first-id", 200).json["inserted"] == 200


def test_a_missing_collection_is_suggested_or_created(
    cli: Callable[..., Ran], live: negmine.Client, fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", vectors)
    name = f"{fresh.name}-new"
    ran = cli("upsert", name, tmp_path / "a.npy", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (1, "NOT_FOUND")
    suggested = (
        f"no collection or alias {name!r}: add --create, or negmine create {name} --dimension 16; `negmine list`"
    )
    assert suggested in ran.complaint
    ran = cli("upsert", name, tmp_path / "a.npy", "--create", "--bits", 64, "--vectors", "int8")
    assert ran.code == 0
    assert ran.err == f"created {name}: 16 dimensions, 64 bits, cosine\n"
    info = live.get(name)
    assert (info.bits, info.vectors, info.rows) == (64, "int8", 200)


def test_mistakes_name_the_file_and_the_row(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"

    def complaint(array: np.ndarray) -> str:
        np.save(path, array)
        ran = cli("upsert", fresh.name, path)
        assert ran.code == 2
        assert ran.out == ""
        return ran.complaint

    assert complaint(vectors[:, :8]) == f"negmine: {path} has embeddings of dimension 8; {fresh.name} has 16"
    assert (
        complaint(vectors.astype(int))
        == f"negmine: {path} has type int64; expected float32, float16 or float64 embeddings"
    )
    assert complaint(vectors[:0]) == f"negmine: {path}: no rows to put in"
    wrong = vectors.copy()
    wrong[17, 3] = np.nan
    assert complaint(wrong) == f"negmine: {path}, row 17: the embedding holds NaN or infinity"
    assert fresh.info().rows == 0


def test_what_is_in_before_a_wrong_row_is_said(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", vectors)
    ran = cli("upsert", fresh.name, tmp_path / "a.npy", "--step", 10**12)
    assert ran.code == 2
    assert "--step is 1000000000000" in ran.complaint
    ran = cli("upsert", fresh.name, tmp_path / "a.npy", "--generation", 3)
    assert ran.code != 0
    assert "--generation is 3" in ran.complaint
    assert "`negmine generation start NAME`" in ran.complaint
    assert cli("upsert", fresh.name, tmp_path / "none.npy").complaint.endswith(
        "cannot be read: No such file or directory"
    )


@pytest.mark.parametrize("name", ["a.csv", "a"])
def test_other_files(cli: Callable[..., Ran], name: str) -> None:
    ran = cli("upsert", "w", name)
    assert ran.code == 2
    assert "expected .npy, .npz, .parquet or .jsonl" in ran.complaint


def test_ignored_columns_are_told(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    path = write_parquet(tmp_path / "c.parquet", id=np.arange(200), embedding=vectors, label=np.arange(200) % 4)
    told = "columns used: id, embedding; ignored: label (name it by --group-column)\n"
    assert cli("upsert", fresh.name, path, "--json").err == told
    assert cli("upsert", fresh.name, path, "--quiet").err == ""
    assert cli("upsert", fresh.name, path, "--group-column", "label").err == ""
    assert fresh.fetch([5]).groups.tolist() == [1]


def test_settings_of_an_existing_collection_are_not_ignored(
    cli: Callable[..., Ran], fresh: negmine.Collection, vectors: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "a.npy", vectors)
    command = ("upsert", fresh.name, tmp_path / "a.npy", "--create")
    bits = fresh.info().bits
    ran = cli(*command, "--bits", 2 * bits, "--estimate-mean-rows", 50)
    assert ran.code == 2
    assert ran.complaint == (
        f"negmine: {fresh.name} exists with other settings: --bits is {bits}, not {2 * bits}, "
        "--estimate-mean-rows is not set, not 50; leave them out, or create another"
    )
    assert fresh.info().rows == 0
    assert cli(*command).code == 0
    assert cli(*command, "--bits", bits).code == 0
