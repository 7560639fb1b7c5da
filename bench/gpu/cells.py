"""One group of cells, in a process of its own: `python3 -m gpu.cells GROUP [--simulate]`. A RESULT line a figure.

A cell that fails says why and makes the exit status 1; those after it run all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.result import Result

    from gpu.card import Card

Cell = Callable[["Card"], "Iterable[Result]"]


def main() -> int:
    """The exit status: 1 = a cell failed."""
    parser = argparse.ArgumentParser(prog="gpu.cells", description=__doc__)
    parser.add_argument("group", help="see grid.PARTS")
    parser.add_argument("--simulate", action="store_true")
    given = parser.parse_args()
    if given.simulate:
        os.environ["TRITON_INTERPRET"] = "1"
    from gpu.card import Card, Skipped

    card = Card(simulate=given.simulate)
    failed = 0
    for name, cell in group(given.group):
        try:
            for result in cell(card):
                print("RESULT", json.dumps(result.as_json()), flush=True)
        except Skipped as why:
            print(f"{name}: skipped: {why}", flush=True)
        except Exception:  # noqa: BLE001 (whatever a kernel or a peer raises, the other cells are of interest)
            traceback.print_exc()
            print(f"{name}: failed", flush=True)
            failed += 1
    return int(failed > 0)


def group(name: str) -> Iterator[tuple[str, Cell]]:
    """The cells of a group, each with a name for messages."""
    from gpu import latency, probing, scans, service, upserts

    kind, *arguments = name.split(".")
    groups: dict[str, Callable[..., Iterator[tuple[str, Cell]]]] = {
        "hamming": scans.hamming,
        "asymmetric": scans.asymmetric,
        "sizes": scans.sizes,
        "upserts": upserts.cells,
        "latency": latency.cells,
        "probing": probing.cells,
        "service": service.cells,
    }
    return groups[kind](*arguments)


if __name__ == "__main__":
    sys.exit(main())
