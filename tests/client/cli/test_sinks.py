from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from negmine.cli import sinks
from negmine.cli.mistakes import Mistake
from negmine.cli.sinks import open_sink

SCHEMA = pa.schema([("anchor", pa.int64()), ("scores", pa.list_(pa.float32()))])


def batch(*anchors: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array(anchors), pa.array([[0.5, None]] * len(anchors), SCHEMA.types[1])], schema=SCHEMA)


def test_parquet_appears_when_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_GROUP_ROWS", 4)
    path = tmp_path / "out.parquet"
    sink = open_sink(str(path), SCHEMA)
    for first in range(0, 10, 2):
        sink.write(batch(first, first + 1))
        assert not path.exists()
    sink.finish({"seed": 3})
    sink.discard()
    assert [held.name for held in tmp_path.iterdir()] == ["out.parquet"]
    assert pq.read_table(path)["anchor"].to_pylist() == list(range(10))
    held = pq.read_metadata(path)
    assert held.num_row_groups == 3
    assert json.loads(held.metadata[b"negmine"]) == {"seed": 3}


def test_json_lines_and_what_stands_beside_them(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(str(path), SCHEMA)
    sink.write(batch(1, 2))
    sink.finish({"seed": 3})
    sink.discard()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"anchor": 1, "scores": [0.5, None]},
        {"anchor": 2, "scores": [0.5, None]},
    ]
    assert json.loads((tmp_path / "out.jsonl.provenance.json").read_text()) == {"seed": 3}
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["out.parquet", "out.jsonl"])
def test_an_output_given_up_leaves_nothing_and_keeps_the_old(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("old")
    sink = open_sink(str(tmp_path / name), SCHEMA)
    sink.write(batch(1))
    sink.discard()
    assert [held.read_text() for held in tmp_path.iterdir()] == ["old"]


def test_stdout_takes_lines(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("-", SCHEMA)
    sink.write(batch(1))
    sink.finish({})
    assert capsys.readouterr().out == '{"anchor":1,"scores":[0.5,null]}\n'


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"ends in '\.csv'; expected \.parquet or \.jsonl"):
        open_sink(str(tmp_path / "x.csv"), SCHEMA)
    with pytest.raises(Mistake, match="there is no folder"):
        open_sink(str(tmp_path / "none" / "x.parquet"), SCHEMA)
