from __future__ import annotations

from made_report import report
from negmine.cli.inspect_table import one_line, report_table
from rich.console import Console


def printed(texts: dict[int, str] | None = None) -> str:
    console = Console(width=140, color_system=None)
    with console.capture() as held:
        console.print(report_table(report(texts)))
    return held.get()


def test_candidates_with_their_verdicts() -> None:
    lines = printed().splitlines()
    assert any(line.split() == ["5", "0.7000", "picked", "4", "–", "negative", "1"] for line in lines)
    assert "anchor 7  (group 3)" in lines
    assert "anchor 70  (starved: exhausted)" in lines
    assert "1 picked  1 filled  1 own id" in lines[-1]
    assert any(line.split() == ["dropped", "30", "by", "margin,", "1", "by", "positive"] for line in lines)


def test_marks_stand_between_the_scores() -> None:
    words = [line.split() for line in printed().splitlines()]
    order = [line[0] if line[0].isdigit() else line[2] for line in words if "──" in line or line[:1] in (["3"], ["4"])]
    assert order[:4] == ["3", "positive", "4", "ceiling"]


def test_texts_cannot_steer_the_terminal() -> None:
    assert one_line("a\x1b[31m\n b\t\u202ec") == "a�[31m b �c"
    shown = printed({7: "[bold]anchor[/bold]", 4: "\x1b]0;title\x07 text"})
    assert "\x1b" not in shown
    assert "[bold]anchor[/bold]" in shown
