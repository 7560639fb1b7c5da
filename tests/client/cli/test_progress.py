from __future__ import annotations

import io

import pytest
from negmine.cli.progress import RowProgress
from negmine.cli.session import Session
from rich.console import Console


def shown(terminal: bool, quiet: bool = False) -> str:
    stream = io.StringIO()
    session = Session(notes=Console(file=stream, force_terminal=terminal, width=80), quiet=quiet)
    with RowProgress(session, "wiki") as progress:
        progress.show(1_500, 20_000)
        progress._progress.refresh()
    assert progress.seconds > 0
    return stream.getvalue()


def test_rows_rate_and_time_left_on_a_terminal() -> None:
    text = shown(terminal=True)
    assert "1,500/20,000 rows" in text
    assert "rows/s" in text


@pytest.mark.parametrize(("terminal", "quiet"), [(False, False), (True, True)])
def test_nothing_elsewhere(terminal: bool, quiet: bool) -> None:
    assert shown(terminal, quiet).strip() == ""
