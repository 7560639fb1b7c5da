"""What every command shares: the server to ask, and where answers and notes go.

Answers go to stdout, as tables for people or JSON for scripts; everything else (progress, notes, errors) to stderr.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import typer
from rich.console import Console, RenderableType

import negmine


def _stdout() -> Console:
    return Console(highlight=False, soft_wrap=False)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


@dataclass(slots=True)
class Session:
    """One run of the command; filled in by the global options.

    Attributes:
        target: host:port of the server.
        timeout_s: deadline of every call.
        tls: encryption; None = plain.
        token: sent as a bearer token.
        as_json: answers are JSON.
        quiet: no notes and no progress; errors are shown all the same.
        out: answers.
        notes: everything else.
        data_on_stdout: stdout carries a command's data, so no answer is written there.
    """

    target: str = ""
    timeout_s: float = 0.0
    tls: negmine.TLS | None = None
    token: str | None = None
    as_json: bool = False
    quiet: bool = False
    out: Console = field(default_factory=_stdout)
    notes: Console = field(default_factory=_stderr)
    data_on_stdout: bool = False

    def client(self) -> negmine.Client:
        """A client of the server, as a context manager."""
        return negmine.Client(self.target, timeout_s=self.timeout_s, tls=self.tls, token=self.token)

    def answer(self, value: object, table: Callable[[], RenderableType]) -> None:
        """The command's answer: `value` as JSON, or the table that `table` makes."""
        if self.data_on_stdout:
            return
        if self.as_json:
            write_json(value)
        else:
            self.out.print(table())

    def note(self, text: str) -> None:
        """Something worth knowing, on stderr."""
        if not self.quiet:
            self.notes.print(text, markup=False, soft_wrap=True)

    @property
    def shows_progress(self) -> bool:
        """Whether there is a terminal to draw progress on."""
        return self.notes.is_terminal and not self.quiet


def session_of(context: typer.Context) -> Session:
    """The session that the global options made."""
    found = context.find_object(Session)
    assert found is not None
    return found


def write_json(value: object) -> None:
    """One JSON document on stdout: on one line, or indented where a person reads it."""
    indent = 2 if sys.stdout.isatty() else None
    sys.stdout.write(json.dumps(plain(value), indent=indent, allow_nan=False) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """A value of the SDK as JSON has it: dataclasses as objects, arrays as lists, sets sorted, NaN as null."""
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(inner) for inner in value)
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
