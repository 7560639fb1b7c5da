from __future__ import annotations

import sys
from pathlib import Path

import pytest
from made_comparison import comparison, side
from negmine.cli import compare_plot
from negmine.cli.compare_plot import check_plot, draw
from negmine.cli.comparison import Comparison
from negmine.cli.mistakes import Mistake

drawn = pytest.mark.usefixtures("matplotlib")


@pytest.fixture
def matplotlib() -> None:
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")


@drawn
def test_a_picture_of_every_format(tmp_path: Path) -> None:
    for name, start in (("out.png", b"\x89PNG"), ("out.svg", b"<?xml"), ("out.pdf", b"%PDF")):
        check_plot(str(tmp_path / name))
        draw(comparison(), str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(start)
    assert len(list(tmp_path.iterdir())) == 3


@drawn
def test_a_picture_says_what_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compare_plot._STYLE, "svg.fonttype", "none")  # texts stay texts
    draw(comparison(), str(tmp_path / "out.svg"))
    shown = (tmp_path / "out.svg").read_text()
    for text in (
        "wiki: 3 anchors, 3 negatives each",
        "b: policy=window range_min=1",
        "b: 33.3% of all",
        "22% on average",
    ):
        assert text in shown


@drawn
def test_nothing_returned_and_no_labels(tmp_path: Path) -> None:
    draw(comparison(labels=False), str(tmp_path / "a.png"))
    empty = side("policy=top", [[-1, -1]])
    draw(Comparison(2, (empty, empty), comparison().labels), str(tmp_path / "b.png"))


def test_what_cannot_be_drawn_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Mistake, match=r"out.gif ends in '.gif'; expected .png, .svg or .pdf"):
        check_plot("out.gif")
    with pytest.raises(Mistake, match="there is no folder /none"):
        check_plot("/none/out.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(Mistake, match=r"--plot needs matplotlib, which is missing: pip install 'negmine\[plots\]'"):
        check_plot(str(tmp_path / "out.png"))
