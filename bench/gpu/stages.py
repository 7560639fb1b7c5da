"""The stages of a run: each a process of its own with a time limit, so that none takes the others down with it.

A process that dies of a kernel's fault takes its CUDA context along, and no other stage's.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gpu.grid import PARTS
from gpu.report import Outcome

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TESTS = ("tests/server/scan/cuda", "tests/server/device", "tests/server/engine")
WORKERS = 6
SKIPPED = ": skipped: "  # in what a cell prints where it cannot run
NOT_PASSED = 9  # the sanitizer's exit status where it found something


@dataclass(frozen=True)
class Stage:
    """One process.

    Attributes:
        command: what is run, from the repository's root.
        limit_s: after which it is stopped.
        missing: why it cannot run here; empty = it can.
        environment: beside this process's.
    """

    name: str
    command: tuple[str, ...]
    limit_s: float
    missing: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, take: Callable[[str], None], left_s: float) -> Outcome:
        """Runs it, for as long as is left; `take` gets every line of output as it comes."""
        if self.missing:
            return Outcome(self.name, "skipped", 0.0, self.missing)
        limit_s = min(self.limit_s, left_s)
        if limit_s <= 0:
            return Outcome(self.name, "stopped", 0.0, "no time was left for it")
        begin = time.monotonic()
        process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=os.environ | {"PYTHONUNBUFFERED": "1"} | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        stopped = threading.Event()

        def stop() -> None:
            stopped.set()
            os.killpg(process.pid, signal.SIGKILL)

        clock = threading.Timer(limit_s, stop)
        clock.start()
        assert process.stdout is not None
        last, skipped = "", []
        for line in process.stdout:
            last = line.strip() or last
            skipped += [last] if SKIPPED in line else []
            take(line.rstrip("\n"))
        status = process.wait()
        clock.cancel()
        seconds = time.monotonic() - begin
        if stopped.is_set():
            return Outcome(self.name, "stopped", seconds, f"at its limit of {limit_s:.0f} s; last: {last[:200]}")
        if status:
            return Outcome(self.name, "failed", seconds, f"exit status {status}; last: {last[:200]}")
        return Outcome(self.name, "passed", seconds, "; ".join(skipped))


def checks(simulate: bool) -> Iterator[Stage]:
    """The tests on the card, and the smallest of them under compute-sanitizer."""
    pytest = "" if importlib.util.find_spec("pytest") else "pytest is not installed"
    card = {} if simulate else {"NEGMINE_GPU": "1"}
    yield Stage("tests", tests(TESTS), 160, pytest or ("simulated: make test runs them" if simulate else ""), card)
    # Without torch's pool of memory every tensor is an allocation of its own, with edges that the sanitizer sees.
    apart = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    sanitizer = shutil.which("compute-sanitizer")
    why = "" if sanitizer else "compute-sanitizer is not on the PATH"
    for tool in ("memcheck", "racecheck"):
        checked = (sanitizer or "", "--tool", tool, "--error-exitcode", str(NOT_PASSED), "--target-processes", "all")
        small = (sys.executable, "-m", "gpu.small", *(("--simulate",) if simulate else ()))
        yield Stage(tool, (*checked, *small), 110, why, apart)


def tests(folders: tuple[str, ...]) -> tuple[str, ...]:
    """pytest with settings of its own: the project's name plugins that a machine with a GPU may not have."""
    there = (folder for folder in folders if (ROOT / folder).is_dir())
    settings = ("-c", str(HERE / "pytest.ini"), "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-q", "--maxfail=20")
    workers = ("-n", str(WORKERS)) if importlib.util.find_spec("xdist") else ()  # most of the time kernels are compiled
    return (sys.executable, "-m", "pytest", *settings, *workers, *there)


def measurements(part: str, simulate: bool) -> Iterator[Stage]:
    """The groups of cells of a part of the grid."""
    for group, limit_s in PARTS[part]:
        options = ("--simulate",) if simulate else ()
        yield Stage(group, (sys.executable, "-m", "gpu.cells", group, *options), limit_s)
