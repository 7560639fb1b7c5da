"""Runs the engine on a card: its tests, then the fixed grid of cells, then the smallest searches under a sanitizer.

Prints RESULT lines as figures come, a table at the end, and keeps both in the results file, which is written after
every figure. A stage that fails makes the exit status 1; the stages after it run all the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from gpu.grid import FULL, PARTS
from gpu.report import Outcome, Report
from gpu.stages import ROOT, Stage, checks, measurements

LIMIT_S = {"card": 470.0}  # of a whole part
LIMIT_OF_A_PART_S = 535.0
RESULTS = ROOT / "bench" / "results" / "gpu.json"
SIMULATED = ROOT / "build" / "gpu-simulated.json"
RESULT = "RESULT "


def main() -> int:
    """The exit status: 1 = a stage failed or was stopped."""
    parser = argparse.ArgumentParser(prog="gpu", description=__doc__)
    parser.add_argument("--stage", action="append", help="run this stage alone; may be given again")
    parser.add_argument("--part", default="card", help=f"card = the fixed grid; more of it: {', '.join(FULL)}, or full")
    parser.add_argument("--simulate", action="store_true", help="no card: everything at toy sizes, on the processor")
    parser.add_argument("--results", type=Path, help=f"the results file (default {RESULTS.relative_to(ROOT)})")
    given = parser.parse_args()
    parts = FULL if given.part == "full" else (given.part,)
    if unknown := sorted(set(parts) - set(PARTS)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    report = Report(given.results or (SIMULATED if given.simulate else RESULTS), given.simulate)
    outcomes: list[Outcome] = []
    for part in parts:
        stages = list(stages_of(part, given.simulate))
        there = [stage.name for stage in stages]
        if unknown := sorted(set(given.stage or ()) - set(there)):
            parser.error(f"there is no stage {', '.join(unknown)}; there are {', '.join(there)}")
        deadline = time.monotonic() + LIMIT_S.get(part, LIMIT_OF_A_PART_S)
        outcomes += [run(stage, report, deadline) for stage in stages if stage.name in (given.stage or there)]
    print(report.table(), flush=True)
    return int(any(outcome.status in {"failed", "stopped"} for outcome in outcomes))


def stages_of(part: str, simulate: bool) -> list[Stage]:
    """The stages of a part: the tests first; what a sanitizer does, which is slow, last."""
    cells = list(measurements(part, simulate))
    if part != "card":
        return cells
    tests, *sanitizers = checks(simulate)
    return [tests, *cells, *sanitizers]


def run(stage: Stage, report: Report, deadline: float) -> Outcome:
    """One stage; its output goes through, and its figures into the report."""

    def take(line: str) -> None:
        print(line, flush=True)
        if line.startswith(RESULT):
            report.add(json.loads(line.removeprefix(RESULT)))

    print(f"== {stage.name}", flush=True)
    outcome = stage.run(take, deadline - time.monotonic())
    print(f"== {stage.name}: {outcome.status} {outcome.seconds:.0f} s {outcome.why}".rstrip(), flush=True)
    report.close(outcome)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
