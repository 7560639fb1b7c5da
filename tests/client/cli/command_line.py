"""What running the command gives back."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

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
