"""The two ranks of a training run, as processes whose steps can be followed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRAINER = Path(__file__).with_name("ddp_trainer.py")
PATIENCE_S = 60.0

Steps = list[dict[str, Any]]


class Rank:
    """One process, its steps so far, and what it wrote to standard error."""

    def __init__(self, rank: int, store: Path, target: str, on_error: str) -> None:
        arguments = json.dumps({"rank": rank, "store": str(store), "target": target, "on_error": on_error})
        self.steps: Steps = []
        self.errors = store.with_suffix(f".{rank}.log")
        self._more = threading.Condition()
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(TRAINER), arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
            )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self.steps.append(json.loads(line))
                self._more.notify_all()
        with self._more:
            self._more.notify_all()

    def wait_for(self, condition: Callable[[Steps], bool]) -> int:
        """Waits until its steps are so, and returns how many there are."""
        with self._more:
            met = self._more.wait_for(
                lambda: condition(self.steps) or self._process.poll() is not None, PATIENCE_S
            ) and condition(self.steps)
            assert met, f"after {len(self.steps)} steps: {self.steps[-3:]}\n{self.errors.read_text()}"
            return len(self.steps)

    def wait_for_more(self, mined: bool, count: int = 20) -> int:
        """Waits for `count` more steps on end that are mined, or that are not."""
        already = len(self.steps)
        return self.wait_for(
            lambda steps: len(steps) >= already + count and all(step["mined"] is mined for step in steps[-count:])
        )

    def tell_to_stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"stop\n")
        self._process.stdin.flush()

    def wait(self, timeout_s: float) -> int:
        """Its exit code."""
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
