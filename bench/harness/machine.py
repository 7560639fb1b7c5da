"""Where and when a figure was taken."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, cores that the benchmark may use, memory in GiB, and the GPU if there is one."""
    models = [line.partition(":")[2].strip() for line in read("/proc/cpuinfo") if line.startswith("model name")]
    total_kib = next(int(line.split()[1]) for line in read("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "cpu": models[0] if models else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "ram_gb": round(total_kib / 2**20),
        "gpu": gpu(),
    }


def gpu() -> str | None:
    """The first GPU's name."""
    names = output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader")
    return names.splitlines()[0].strip() if names else None


def commit(folder: Path) -> str | None:
    """The commit that was measured, with "+" behind it where files differ from it."""
    head = output("git", "-C", str(folder), "rev-parse", "--short=12", "HEAD")
    if not head:
        return None
    changed = output("git", "-C", str(folder), "diff", "--name-only", "HEAD", "--", "../client", "../server")
    return head.strip() + ("+" if changed else "")


def output(*command: str) -> str:
    """What a command prints; empty where it fails, or is not there."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return "" if done.returncode else done.stdout


def stolen_s() -> float:
    """CPU seconds that the host has taken from this machine since it started: on a shared host, how noisy a run was."""
    return int(read("/proc/stat")[0].split()[8]) / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has taken, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int | str, field: str) -> int:
    """A process's resident memory: "VmRSS" = now, "VmHWM" = its peak."""
    return next(int(line.split()[1]) * 1024 for line in read(f"/proc/{pid}/status") if line.startswith(field))


def today() -> str:
    """The date, in UTC."""
    return datetime.now(UTC).date().isoformat()


def read(path: str) -> list[str]:
    """Lines of a file of the kernel."""
    return Path(path).read_text().splitlines()
