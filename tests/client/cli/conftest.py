"""The command in this process against the real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from negmine.cli.app import run

sys.path.append(str(Path(__file__).parent))  # tests are imported by path, and share made_files

DIMENSION = 16  # of the collection that `fresh` makes
COMMAND = [sys.executable, "-c", "from negmine.cli import main; main()"]  # what the console script runs


@dataclass(frozen=True)
class Ran:
    """One run of the command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        lines = self.err.strip().splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def cli(target: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs the command in this process against the real server."""
    monkeypatch.setenv("NEGMINE_TARGET", target)
    monkeypatch.setenv("COLUMNS", "120")

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return command


@pytest.fixture
def piped(target: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs the command in a process of its own, with text on stdin."""
    monkeypatch.setenv("NEGMINE_TARGET", target)

    def command(*arguments: object, stdin: str = "") -> Ran:
        words = [*COMMAND, *(str(argument) for argument in arguments)]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=60)
        return Ran(done.returncode, done.stdout, done.stderr)

    return command


@pytest.fixture
def vectors() -> np.ndarray:
    """float32 [200, 16]."""
    return np.random.default_rng(7).standard_normal((200, DIMENSION)).astype(np.float32)
