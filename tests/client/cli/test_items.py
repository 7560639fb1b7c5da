from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import negmine
import numpy as np
import pytest
from command_line import Ran


@pytest.fixture
def filled(fresh: negmine.Collection, vectors: np.ndarray) -> negmine.Collection:
    fresh.upsert(np.arange(200) + 1_000_000, vectors, step=3, groups=np.arange(200) % 4, tags=5)
    return fresh


def test_fetch_shows_items_and_counts_the_missing(cli: Callable[..., Ran], filled: negmine.Collection) -> None:
    ran = cli("fetch", filled.name, 1_000_002, 7)
    assert ran.code == 0
    assert ran.err == f"1 of 2 ids are not in {filled.name}\n"
    assert [line.split() for line in ran.out.splitlines()[1:]] == [
        ["1000002", "yes", "3", "0", "2", "0x5", "–"],
        ["7", "no", "–", "–", "–", "–", "–"],
    ]
    assert cli("fetch", filled.name, 7, "--fail-missing").code == 3
    assert cli("fetch", filled.name, 7, "--quiet").err == ""


def test_fetch_with_vectors_as_json(cli: Callable[..., Ran], filled: negmine.Collection, vectors: np.ndarray) -> None:
    told = cli("fetch", filled.name, 1_000_000, "--embeddings", "--codes", "--json").json
    stored = np.array(told["items"]["embeddings"][0])
    np.testing.assert_allclose(stored, vectors[0] / np.linalg.norm(vectors[0]), atol=1e-6)
    assert len(told["items"]["codes"]["words"][0]) == 2
    assert told["items"]["uncertainties"] == [None]
    assert "embedding" in cli("fetch", filled.name, 1_000_000, "--embeddings").out


def test_delete_from_a_file(cli: Callable[..., Ran], filled: negmine.Collection, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("1000000\n1000001\n5\n")
    told = cli("delete", filled.name, "--ids-file", tmp_path / "ids.txt", "--json").json
    assert (told["deleted"], told["stale"]) == (2, 0)
    assert cli("delete", filled.name, 1_000_002, "--step", 1, "--json").json["stale"] == 1
    assert filled.info().rows == 198
    assert "newer, kept  1" in cli("delete", filled.name, 1_000_002, "--step", 1).out


def test_ids_on_stdin(piped: Callable[..., Ran], filled: negmine.Collection) -> None:
    assert piped("delete", filled.name, "--ids-file", "-", "--json", stdin="1000000\n").json["deleted"] == 1


def test_mistakes(cli: Callable[..., Ran], filled: negmine.Collection) -> None:
    assert cli("fetch", filled.name).code == 2
    assert cli("fetch", filled.name, "x").code == 2
    assert "--generation is 1 without --step" in cli("delete", filled.name, 1, "--generation", 1).complaint
    assert cli("delete", filled.name, 3, 3).code == 2
