"""The command in this process against the real server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import negmine
import numpy as np
import pytest
from negmine.cli.app import run

sys.path.append(str(Path(__file__).parent))  # tests are imported by path, and share the modules beside

from command_line import COMMAND, Ran

DIMENSION = 16  # of the collection that `fresh` makes


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


@pytest.fixture
def filled(fresh: negmine.Collection, vectors: np.ndarray) -> negmine.Collection:
    """Holds 200 items in four groups."""
    fresh.upsert(range(200), vectors, groups=np.arange(200) % 4)
    return fresh
