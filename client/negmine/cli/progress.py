"""A progress bar with rows, rows/s and the time left, on stderr and only on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from negmine.cli.session import Session


class RowProgress:
    """Rows done so far, as a context manager."""

    def __init__(self, session: Session, title: str) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Rows(),
            TimeRemainingColumn(compact=True),
            console=session.notes,
            transient=True,
            disable=not session.shows_progress,
        )
        self._started_s = time.monotonic()
        self._task = self._progress.add_task(title, total=None)

    def __enter__(self) -> Self:
        self._started_s = time.monotonic()
        if not self._progress.disable:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._progress.disable:
            self._progress.stop()

    def show(self, done: int, total: int | None) -> None:
        """Rows done, of a total that may be an estimate or unknown. Safe from any thread."""
        self._progress.update(self._task, completed=done, total=max(done, total) if total else None)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started_s


class _Rows(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Rows done, of how many, and how many a second."""
        done = f"{int(task.completed):,}"
        of = f"/{int(task.total):,}" if task.total else ""
        rate = f"{task.speed:,.0f} rows/s" if task.speed else "– rows/s"
        return Text(f"{done}{of} rows, {rate}")
