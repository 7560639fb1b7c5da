"""results/gpu.json while it grows: written after every stage and figure, so that a stopped run leaves a file."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import machine

FIELDS = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit", "memory.total")


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    stage: str
    status: str  # "passed", "failed", "skipped" or "stopped", at its time limit
    seconds: float
    why: str = ""


class Report:
    """What the file holds already stays, but for the figures and stages that are run again.

    Args:
        path: of the file; its folder is made.
        simulated: whether figures mean nothing; they are then told apart by `machine.simulated`.
    """

    def __init__(self, path: Path, simulated: bool) -> None:
        self._path = path
        kept: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
        if kept.get("machine", {}).get("simulated", False) != simulated:
            kept = {}
        self._results: dict[str, dict[str, Any]] = {result["name"]: result for result in kept.get("results", [])}
        self._stages: dict[str, dict[str, Any]] = {stage["stage"]: stage for stage in kept.get("stages", [])}
        self._head = {
            "date": machine.today(),
            "machine": machine.describe() | {"simulated": simulated, "card": card()},
            "commit": os.environ.get("COMMIT") or machine.commit(Path(__file__).parent),
        }

    def add(self, result: dict[str, Any]) -> None:
        """A figure, as `Result.as_json` gives it."""
        self._results[result["name"]] = result
        self._write()

    def close(self, outcome: Outcome) -> None:
        """The end of a stage; the card's clocks are read again, now that it is warm."""
        self._stages[outcome.stage] = asdict(outcome)
        self._head["machine"]["card"] = card()
        self._write()

    def _write(self) -> None:
        whole = self._head | {"stages": list(self._stages.values()), "results": list(self._results.values())}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(whole, indent=1) + "\n")
        part.replace(self._path)

    def table(self) -> str:
        """Figures and stages, a line each: value, target, and how many times the peer."""
        lines = [f"{'figure':48} {'value':>10} {'unit':10} {'target':>8} {'met':>4} {'ratio':>7}  peer"]
        for result in self._results.values():
            met = {True: "yes", False: "NO", None: ""}[result["met"]]
            columns = (shown(result[key]) for key in ("value", "target", "ratio"))
            value, target, ratio = columns
            line = f"{result['name']:48} {value:>10} {result['unit']:10} {target:>8} {met:>4} {ratio:>7}"
            lines.append(f"{line}  {result['peer'] or ''}".rstrip())
        lines.append("")
        lines += [
            f"{stage['stage']:12} {stage['status']:8} {stage['seconds']:6.0f} s  {stage['why']}".rstrip()
            for stage in self._stages.values()
        ]
        return "\n".join(lines)


def shown(value: float | None) -> str:
    """A number in at most eight characters; nothing for None."""
    return "" if value is None else f"{value:.4g}"


def card() -> dict[str, str] | None:
    """What the driver says of the first GPU, its clocks as they are now; None without one."""
    answer = machine.output("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader")
    if not answer:
        return None
    return dict(zip(FIELDS, (field.strip() for field in answer.splitlines()[0].split(",")), strict=True))
