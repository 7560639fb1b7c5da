from __future__ import annotations

import numpy as np
import pytest
from negmine.cli.mistakes import Mistake
from negmine.cli.rows import ItemColumns, Rows, checked, chunk_rows, find_columns


def rows(**columns) -> Rows:
    embeddings = columns.pop("embeddings", np.ones((3, 2), np.float32))
    return Rows("x.npz", np.arange(10, 10 + len(embeddings)), "row", embeddings, **columns)


def test_columns_are_found_by_their_usual_names() -> None:
    assert find_columns(ItemColumns().named(), ["text", "embeddings", "id", "groups"], "x") == {
        "embedding": "embeddings",
        "id": "id",
        "group": "groups",
    }
    named = ItemColumns(embedding_column="vec", group_column="label").named()
    assert find_columns(named, ["vec", "embedding", "label"], "x") == {"embedding": "vec", "group": "label"}


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(Mistake, match=r"x has no column 'label' \(--group-column\); it has embedding, id"):
        find_columns(ItemColumns(group_column="label").named(), ["embedding", "id"], "x")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"embeddings": np.ones((1, 3), np.float32)}, "x.npz has embeddings of dimension 3; expected 2"),
        ({"embeddings": np.array([[1, 1], [np.inf, 1]])}, "x.npz, row 11: the embedding holds NaN or infinity"),
        ({"embeddings": np.array([[1, 1], [0, 0.0]])}, "x.npz, row 11: the embedding is zero"),
        ({"ids": np.array([1, 2, 1])}, "x.npz, row 12: id 1 stands twice in the file"),
        ({"ids": np.array([1, -2, 3])}, "x.npz, row 11: id is -2; expected at least 0"),
        ({"ids": np.array([1, 2**63, 3], np.uint64)}, "row 11: id is 9223372036854775808; expected at most"),
        ({"ids": np.array([1.0, 2, 3])}, "x.npz: id has type float64"),
        ({"ids": np.ones((3, 1), int)}, r"x.npz: id has type int64 and shape \(3, 1\)"),
        ({"groups": np.array([1, -2, 3])}, "x.npz, row 11: group is -2; expected at least -1"),
        ({"tags": np.array([1, -2, 3])}, "x.npz, row 11: tags is -2; expected at least 0"),
        ({"uncertainties": np.array(["a"] * 3)}, "x.npz: uncertainties have type"),
    ],
)
def test_what_the_server_would_refuse_is_named_with_its_row(wrong: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        list(checked([rows(**wrong)], 2))


def test_good_rows_pass() -> None:
    good = rows(ids=np.array([3, 1, 2]), groups=np.array([-1, 0, 5]), tags=np.array([2**64 - 1] * 3, np.uint64))
    assert list(checked([good], 2)) == [good]


def test_chunks_are_bounded() -> None:
    assert chunk_rows(1) == 32_768
    assert chunk_rows(1024) * 4096 == 8 << 20
    assert chunk_rows(8192 * 1024) == 1
