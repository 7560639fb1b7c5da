from __future__ import annotations

import io
import json

import numpy as np
import pytest
from negmine.cli import rows as rows_module
from negmine.cli.mistakes import Mistake
from negmine.cli.read_jsonl import STDIN_NAME, JsonLines
from negmine.cli.rows import ItemColumns, checked

NAMED = {**ItemColumns().named(), "positives": None}


def lines(*rows: object) -> io.BytesIO:
    return io.BytesIO(b"".join(row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows))


def test_rows_come_back_in_chunks(vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "CHUNK_BYTES", 32 * 16 * 4)
    stream = lines(*({"id": number + 5, "embedding": row.tolist()} for number, row in enumerate(vectors)))
    source = JsonLines("x.jsonl", stream, NAMED)
    parts = list(source.chunks())
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate([part.embeddings for part in parts]), vectors)
    assert np.concatenate([part.ids for part in parts]).tolist() == list(range(5, 205))


def test_blank_lines_count_as_lines_and_absent_values_are_none() -> None:
    first = {"embedding": [1, 2.5], "group": 3, "tags": 2**64 - 1, "uncertainty": 1, "positives": 4}
    second = {"embedding": [3, 4], "group": None, "positives": [5, 6]}
    (part,) = JsonLines("x.jsonl", lines(first, b"\n", second, {"embedding": [1, 1]}), NAMED).chunks()
    assert part.place(1) == "x.jsonl, line 3"
    assert part.ids is None
    assert part.groups.tolist() == [3, -1, -1]
    assert part.tags.tolist() == [2**64 - 1, 0, 0]
    np.testing.assert_array_equal(part.uncertainties, [1, np.nan, np.nan])
    assert [held.tolist() for held in part.positives] == [[0, 1, 3, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"{oops\n", "line 2: not JSON"),
        (b"\xff\n", "line 2: not JSON"),
        ([1], r"line 2: \[1\] is not an object with columns"),
        ({"id": 1}, "line 2: the embedding is null; expected a list of numbers"),
        ({"id": 1, "embedding": "a"}, 'line 2: the embedding is "a"'),
        ({"id": 1, "embedding": [[1], [2, 3]]}, "line 2: the embedding is"),
        ({"id": 1, "embedding": [True, None]}, "line 2: the embedding is"),
        ({"id": 1, "embedding": [1.0]}, "line 2: the embedding has 1 values; expected 2 as before"),
        ({"id": 1.5, "embedding": [1, 2]}, "line 2: id is 1.5; expected an integer"),
        ({"id": True, "embedding": [1, 2]}, "line 2: id is true"),
        ({"embedding": [1, 2]}, "line 2: id is null"),
        ({"id": 2**63, "embedding": [1, 2]}, "line 2: id is 9223372036854775808"),
        ({"id": 1, "embedding": [1, 2], "group": "a"}, 'line 2: group is "a"'),
        ({"id": 1, "embedding": [1, 2], "uncertainty": "a"}, 'line 2: uncertainty is "a"; expected a number'),
        ({"id": 1, "embedding": [1, 2], "positives": [1, "a"]}, "line 2: positives is .* expected an id, or a list"),
        ({"id": 1, "embedding": [1, 1e300]}, "line 2: the embedding holds NaN or infinity"),
    ],
)
def test_wrong_lines_are_named(row: object, said: str) -> None:
    first = {"id": 0, "embedding": [1, 2], "group": 0, "uncertainty": 0.5, "positives": [1]}
    with pytest.raises(Mistake, match=said):
        list(checked(JsonLines("x.jsonl", lines(first, row), NAMED).chunks(), 2))


def test_the_total_is_estimated_from_a_file_and_unknown_for_a_pipe(tmp_path, vectors: np.ndarray) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(lines(*({"embedding": row.tolist()} for row in vectors)).getvalue())
    with path.open("rb") as stream:
        source = JsonLines(str(path), stream, NAMED)
        assert 150 <= source.rows_total() <= 250
        list(source.chunks())
        assert source.rows_total() == 200


def test_no_lines() -> None:
    source = JsonLines("x.jsonl", lines(), NAMED)
    assert (source.dimension(), source.rows_total(), list(source.chunks())) == (0, None, [])


@pytest.mark.parametrize("data", [b"\x93NUMPY\x01\x00v\x00", b"PAR1\n", b"1\n"])
def test_other_data_on_stdin_is_told_what_is_expected(data: bytes) -> None:
    with pytest.raises(Mistake, match=r"stdin, line 1: .*; stdin is read as JSON lines"):
        JsonLines(STDIN_NAME, io.BytesIO(data), NAMED)
