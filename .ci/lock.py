"""Print constraints.txt from a pip installation report.

    pip install --dry-run --ignore-installed --report report.json … && python .ci/lock.py report.json

Our own distributions, PyTorch (its build is the machine's choice) and the CUDA packages that it may bring are left out.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HEADER = """\
# Exact versions of everything that the make targets and the container image install. Made by `make lock`; do not edit.
"""
LEFT_OUT = re.compile(r"(negmine(-server)?|torch|triton|nvidia-.*|cuda-.*)$")


def pins(report: Path) -> list[str]:
    """`name==version` of each distribution in the report, names normalised and sorted."""
    found = {
        re.sub(r"[-_.]+", "-", entry["metadata"]["name"]).lower(): entry["metadata"]["version"].partition("+")[0]
        for entry in json.loads(report.read_text())["install"]
    }
    return [f"{name}=={version}" for name, version in sorted(found.items()) if not LEFT_OUT.match(name)]


if __name__ == "__main__":
    sys.stdout.write(HEADER + "\n".join(pins(Path(sys.argv[1]))) + "\n")
