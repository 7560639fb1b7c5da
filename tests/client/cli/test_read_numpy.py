from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from negmine.cli import rows as rows_module
from negmine.cli.mistakes import Mistake
from negmine.cli.read_numpy import NpyFile, NpzFile, read_id_array
from negmine.cli.rows import AnchorColumns, ItemColumns

ITEMS = ItemColumns().named()
ANCHORS = AnchorColumns().named()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 32 rows of 16 float32."""
    monkeypatch.setattr(rows_module, "CHUNK_BYTES", 32 * 16 * 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_npy_comes_back_in_chunks(tmp_path: Path, vectors: np.ndarray, dtype: str) -> None:
    path = tmp_path / "x.npy"
    np.save(path, vectors.astype(dtype))
    source = NpyFile(str(path), ITEMS)
    parts = list(source.chunks())
    assert (source.dimension(), source.rows_total()) == (16, 200)
    assert len(parts) >= 4
    np.testing.assert_array_equal(np.concatenate([part.embeddings for part in parts]), vectors.astype(dtype))
    assert parts[1].place(0) == f"{path}, row {len(parts[0])}"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_is_read_member_by_member(tmp_path: Path, vectors: np.ndarray, save) -> None:
    path = tmp_path / "x.npz"
    ids, tags = np.arange(200) * 3, np.arange(200, dtype=np.uint64) + 2**63
    save(path, embeddings=vectors, ids=ids, groups=ids % 5, tags=tags, uncertainty=vectors[:, 0], text=np.array(["a"]))
    parts = list(NpzFile(str(path), ITEMS).chunks())
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate([part.embeddings for part in parts]), vectors)
    np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), ids)
    np.testing.assert_array_equal(np.concatenate([part.groups for part in parts]), ids % 5)
    np.testing.assert_array_equal(np.concatenate([part.tags for part in parts]), tags)
    np.testing.assert_array_equal(np.concatenate([part.uncertainties for part in parts]), vectors[:, 0])


def positives_of(path: Path) -> list[list[int]]:
    found = []
    for part in NpzFile(str(path), ANCHORS).chunks():
        offsets, values = part.positives
        found += [values[first:last].tolist() for first, last in itertools.pairwise(offsets)]
    return found


def test_positives_of_an_npz_have_three_forms(tmp_path: Path, vectors: np.ndarray) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, embeddings=vectors, positives=np.arange(200) - 1)
    assert positives_of(path) == [[]] + [[number] for number in range(199)]
    padded = np.where(np.arange(200)[:, None] % [2, 3] == 0, np.arange(200)[:, None], -1)
    np.savez(path, embeddings=vectors, positives=padded)
    assert positives_of(path) == [[one for one in row if one >= 0] for row in padded.tolist()]
    lists = [list(range(number % 4)) for number in range(200)]
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])])
    np.savez(path, embeddings=vectors, positives=np.concatenate(lists).astype(int), positives_offsets=offsets)
    assert positives_of(path) == lists


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(3, np.float32), r"has shape \(3,\); expected \[rows, dimension\]"),
        (np.zeros((3, 2), np.int8), "has type int8; expected float32, float16 or float64"),
        (np.array([["a"]], object), "cannot be read"),
    ],
)
def test_npy_that_cannot_be_embeddings(tmp_path: Path, array: np.ndarray, said: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(Mistake, match=said):
        NpyFile(str(tmp_path / "x.npy"), ITEMS)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"vec": np.ones((3, 2))}, "has no column 'embedding'; it has vec: name the one"),
        ({"embeddings": np.ones((3, 2)), "ids": np.arange(2)}, r"array 'ids' has shape \(2,\); expected 3 rows"),
        ({"embeddings": np.asfortranarray(np.ones((3, 2)))}, "stored column by column"),
        ({"embeddings": np.ones((3, 2)), "ids": np.array(["a"] * 3, object)}, "holds Python objects"),
        (
            {"embeddings": np.ones((3, 2)), "positives": np.arange(4), "positives_offsets": np.array([0, 2, 1, 4])},
            "expected 4 rising offsets from 0",
        ),
    ],
)
def test_npz_that_cannot_be_rows(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(Mistake, match=said):
        NpzFile(str(tmp_path / "x.npz"), ANCHORS)


def test_a_damaged_npz_is_named(tmp_path: Path, vectors: np.ndarray) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, embeddings=vectors)
    held = bytearray(path.read_bytes())
    held[2000] ^= 1
    path.write_bytes(held)
    with pytest.raises(Mistake, match=re.escape(f"{path}, array 'embeddings' is damaged")):
        list(NpzFile(str(path), ITEMS).chunks())


def test_files_that_are_something_else(tmp_path: Path) -> None:
    for name, kind in (("x.npy", NpyFile), ("x.npz", NpzFile)):
        (tmp_path / name).write_text("hello")
        with pytest.raises(Mistake, match=f"{name} is not an .np"):
            kind(str(tmp_path / name), ITEMS)
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(Mistake, match=r"x\.npy cannot be read"):
        NpyFile(str(tmp_path / "x.npy"), ITEMS)


def test_an_npy_has_no_columns(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"--id-column names one; expected an \.npz file"):
        NpyFile(str(tmp_path / "x.npy"), ItemColumns(id_column="key").named())


def test_ids_of_an_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "ids.npy", np.array([3, 1], np.uint16))
    assert read_id_array(tmp_path / "ids.npy").tolist() == [3, 1]
    np.save(tmp_path / "ids.npy", np.array([3.0]))
    with pytest.raises(Mistake, match=r"float64 and shape \(1,\); expected integers"):
        read_id_array(tmp_path / "ids.npy")
