from __future__ import annotations

import base64
import gzip
from pathlib import Path

import pytest
from made_files import write_lines, write_parquet
from negmine.cli.mistakes import Mistake
from negmine.cli.sidecar import Shown, SidecarOptions, read_sidecar

TEXTS = {3: 'a "quoted" text', 17: "é, <b>", 20: ""}


def written(folder: Path, name: str) -> Path:
    path = folder / name
    rows = [(5, "not asked for"), *TEXTS.items()]
    if ".parquet" in name:
        return write_parquet(path, id=[row[0] for row in rows], text=[row[1] for row in rows], more=[1] * len(rows))
    if ".jsonl" in name:
        return write_lines(path, *({"id": id_, "text": text} for id_, text in rows))
    quoted = [(str(id_), '"' + text.replace('"', '""') + '"' if ".csv" in name else text) for id_, text in rows]
    content = "\n".join(("," if ".csv" in name else "\t").join(row) for row in [("id", "text"), *quoted]) + "\n"
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_texts_of_every_format(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name)
    found = read_sidecar(str(path), set(TEXTS), id_column="id", text="text", image=None)
    assert found == {id_: Shown(text) for id_, text in TEXTS.items()}


def test_images_become_data_uris(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    content = {"a.png": b"\x89PNG", "b.JPG": b"\xff\xd8", "c.svg": b"<svg/>"}
    for name, held in content.items():
        (tmp_path / "pictures" / name).write_bytes(held)
    rows = [{"key": number, "file": f"pictures/{name}"} for number, name in enumerate(content)]
    path = write_lines(tmp_path / "s.jsonl", *rows)
    options = SidecarOptions(sidecar=str(path), image_column="file", sidecar_id_column="key")
    found = options.of_items(range(3))
    kinds = ["image/png", "image/jpeg", "image/svg+xml"]
    for number, (kind, held) in enumerate(zip(kinds, content.values(), strict=True)):
        assert found[number] == Shown(None, f"data:{kind};base64,{base64.b64encode(held).decode()}")


def test_what_a_file_cannot_give_is_said(tmp_path: Path) -> None:
    def said(name: str, content: bytes | None, **given: str | None) -> str:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        asked = {"id_column": "id", "text": "text", "image": None, **given}
        with pytest.raises(Mistake) as raised:
            read_sidecar(str(tmp_path / name), {3}, **asked)  # type: ignore[arg-type]
        return str(raised.value).replace(str(tmp_path) + "/", "")

    assert said("none.tsv", None) == "none.tsv cannot be read: No such file or directory"
    assert "expected .tsv, .csv, .jsonl or .parquet" in said("a.txt", b"")
    assert said("a.tsv", b"id\ttext\n", text="nope").startswith("a.tsv has no column 'nope'; it has id, text: ")
    assert said("a.tsv", b"id\ttext\n4\tx\n") == "a.tsv: id 3 is not in the column 'id'"
    assert said("a.tsv", b"id\ttext\n3\tx\n3\ty\n") == "a.tsv, line 3: id 3 stands there twice"
    assert said("a.tsv", b"id\ttext\nn3\tx\n") == "a.tsv, line 2: id is 'n3'; expected an integer id"
    assert said("a.tsv", b"id\ttext\n3\n") == "a.tsv, line 2 has 1 columns; expected 2 as in the header"
    assert said("a.jsonl", b'{"id": 3, "text": null}') == "a.jsonl, line 1: text is 'None'; expected a text"
    assert said("a.jsonl", b"{").startswith("a.jsonl, line 1: not JSON")
    assert said("a.jsonl", b"[]") == "a.jsonl, line 1: [] is not an object with columns"
    assert said("a.tsv", b"id\ttext\n3\t\xff\n").startswith("a.tsv cannot be read: 'utf-8' codec")
    assert said("a.tsv.gz", b"id\ttext\n").startswith("a.tsv.gz cannot be read: Not a gzipped file")
    assert said("a.parquet", b"no").startswith("a.parquet cannot be read: ")
    content = b"id\ttext\n3\tmissing.png\n"
    assert "the image missing.png cannot be read: No such file" in said("a.tsv", content, text=None, image="text")
    content = b"id\ttext\n3\ta.tiff\n"
    assert "the image a.tiff ends in '.tiff'; expected one of .png" in said("a.tsv", content, text=None, image="text")


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(Mistake, match="--text-column is 'c' without --sidecar"):
        SidecarOptions(text_column="c").check(queries=False)
    with pytest.raises(Mistake, match="--query-sidecar belongs to --queries"):
        SidecarOptions("a.tsv", "b.tsv").check(queries=False)
    SidecarOptions("a.tsv", "b.tsv").check(queries=True)
