from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_files import write_parquet
from negmine.cli import rows as rows_module
from negmine.cli.mistakes import Mistake
from negmine.cli.read_parquet import ParquetFile
from negmine.cli.rows import AnchorColumns, ItemColumns

ITEMS = ItemColumns().named()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "CHUNK_BYTES", 32 * 16 * 4)


def as_lists(vectors: np.ndarray, kind: str) -> pa.Array:
    flat = pa.array(vectors.reshape(-1))
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    offsets = np.arange(len(vectors) + 1) * vectors.shape[1]
    if kind == "tensor":
        return pa.FixedShapeTensorArray.from_numpy_ndarray(vectors)
    whole = pa.LargeListArray if kind == "large" else pa.ListArray
    return whole.from_arrays(pa.array(offsets, pa.int64() if kind == "large" else pa.int32()), flat)


@pytest.mark.parametrize("kind", ["list", "large", "fixed", "tensor"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_kind_of_list_comes_back(tmp_path: Path, vectors: np.ndarray, kind: str, dtype: str) -> None:
    path = tmp_path / "x.parquet"
    held = vectors.astype(dtype)
    pq.write_table(pa.table({"id": np.arange(200), "embedding": as_lists(held, kind)}), path, row_group_size=50)
    source = ParquetFile(str(path), ITEMS)
    parts = list(source.chunks())
    assert (source.dimension(), source.rows_total()) == (16, 200)
    assert len(parts) >= 7
    np.testing.assert_array_equal(np.concatenate([part.embeddings for part in parts]), held)
    np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), np.arange(200))
    assert parts[-1].place(len(parts[-1]) - 1) == f"{path}, row 199"


def test_nulls_mean_none_where_none_is_allowed(tmp_path: Path, vectors: np.ndarray) -> None:
    path = write_parquet(
        tmp_path / "x.parquet",
        key=[1, 2, 3],
        embedding=vectors[:3],
        group=pa.array([4, None, 5], pa.uint8()),
        tags=[None, 1, 2],
        uncertainty=[0.5, None, 1.5],
        positives=[[1, 2], None, []],
    )
    (part,) = ParquetFile(str(path), {**ItemColumns(id_column="key").named(), "positives": None}).chunks()
    assert part.groups.tolist() == [4, -1, 5]
    assert part.tags.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(part.uncertainties, [0.5, np.nan, 1.5])
    assert [held.tolist() for held in part.positives] == [[0, 2, 2, 2], [1, 2]]


def test_single_positives(tmp_path: Path, vectors: np.ndarray) -> None:
    path = write_parquet(tmp_path / "x.parquet", embedding=vectors[:3], answer=[7, None, 9])
    (part,) = ParquetFile(str(path), AnchorColumns(positives="answer").named()).chunks()
    assert [held.tolist() for held in part.positives] == [[0, 1, 1, 2], [7, 9]]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"embedding": ["a"]}, "column 'embedding' has type string; expected lists of float"),
        ({"embedding": [[1, 2]]}, "expected lists of float"),
        ({"embedding": [[1.0], None]}, "row 1: embedding is null"),
        ({"embedding": [[1.0, None]]}, "holds a null"),
        ({"embedding": [[1.0, 2.0], [1.0]]}, "row 1: the embedding has 1 values; expected 2 as in row 0"),
        ({"embedding": [[1.0]] * 2, "id": [1, None]}, "row 1: id is null"),
        ({"embedding": [[1.0]], "id": ["a"]}, "column 'id' has type string; expected integers for id"),
        ({"embedding": [[1.0]], "group": ["noun"]}, "column 'group' has type string"),
        ({"embedding": [[1.0]], "uncertainty": ["high"]}, "expected floating point"),
        ({"embedding": [[1.0]], "positives": [["a"]]}, "expected integers or their lists"),
        ({"embedding": [[1.0]], "positives": [[1, None]]}, "a list of positives from row 0 on holds a null"),
        ({"vec": [[1.0]]}, "has no column 'embedding'; it has vec"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, columns: dict[str, list], said: str) -> None:
    path = write_parquet(tmp_path / "x.parquet", **columns)
    with pytest.raises(Mistake, match=said):
        list(ParquetFile(str(path), {**ITEMS, "positives": None}).chunks())


def test_no_rows_and_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"embedding": pa.array([], pa.list_(pa.float32()))}), path)
    assert ParquetFile(str(path), ITEMS).dimension() == 0
    path.write_text("hello")
    with pytest.raises(Mistake, match="is not a readable Parquet file"):
        ParquetFile(str(path), ITEMS)
