"""Runs benchmarks: `run.py [NAME…]`, all without. One RESULT line a figure, and results/<NAME>.json a benchmark.

With `--scale` below 1 the sizes shrink, so that a benchmark can be tried out; nothing is written then.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

from harness import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
CORES = 2  # what the figures are stated for: server and client share them


def main() -> int:
    """Runs the benchmarks named on the command line. Returns the exit code: 2 = there is no such benchmark."""
    there = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "run")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(there)}")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full sizes; results are kept only at 1")
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(there))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(there)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    for name in given.names or there:
        stolen_before = machine.stolen_s()
        results = importlib.import_module(name).run(given.scale)
        stolen_s = round(machine.stolen_s() - stolen_before, 2)
        for result in results:
            print("RESULT", json.dumps(result.as_json()), flush=True)
        if given.scale == 1:
            report = {
                "date": machine.today(),
                "machine": machine.describe(),
                "stolen_cpu_s": stolen_s,
                "commit": machine.commit(HERE),
                "results": [result.as_json() for result in results],
            }
            RESULTS.mkdir(exist_ok=True)
            (RESULTS / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
