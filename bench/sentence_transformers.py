"""A whole data set mined: against `mine_hard_negatives` of sentence-transformers, in an environment of its own.

The lemmas of 117,659 synsets are the anchors, their glosses the corpus; both sides get the same vectors and margin. Its
wall time is that of one call over ready vectors; ours runs from the first row sent to the last negative received.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from harness import machine
from harness.corpus import pairs
from harness.result import Result
from harness.server import Server

HERE = Path(__file__).resolve().parent
PEER_PYTHON = HERE.parent / ".venv-wordnet" / "bin" / "python"
PEER = "sentence_transformers.util.mine_hard_negatives, faiss on"
K = 8
MARGIN = 0.05  # relative, of the positive's score
RUNS = 3  # of ours: one before the peer's, and two after
SPEED_UP, FOUND = 10.0, 0.95


def run(scale: float) -> list[Result]:
    """`st.speedup`, `st.found`, `st.peak_memory`; only ours where the peer is not installed."""
    with tempfile.TemporaryDirectory(prefix="negmine-bench-") as name:
        folder = Path(name)
        anchors, corpus, data = pairs(scale)
        np.save(folder / "anchors.npy", anchors)
        np.save(folder / "corpus.npy", corpus)
        n = len(corpus)
        del anchors, corpus
        ours = [mine(folder)]
        theirs = peer(folder)
        ours += [mine(folder) for _ in range(RUNS - 1)]
        return results(folder, n, data, ours, theirs)


def mine(folder: Path) -> dict[str, Any]:
    """Ours, with a server of its own; what the client process prints, and the server's memory."""
    with Server() as server:
        idle = server.resident_bytes()
        report = script([sys.executable], "mine_all.py", server.target, server.pid, folder, K, MARGIN)
        report["server_idle_bytes"] = idle
        report["server_peak_bytes"] = machine.memory_bytes(server.pid, "VmHWM")
    return report


def peer(folder: Path) -> dict[str, Any] | None:
    """Its report; None where it is not installed."""
    if not PEER_PYTHON.exists():
        return None
    return script([str(PEER_PYTHON), "-P"], "st_miner.py", folder, K, MARGIN)


def script(python: list[str], name: str, *arguments: object) -> dict[str, Any]:
    """Runs a script of the harness; its report."""
    command = [*python, str(HERE / "harness" / name), *map(str, arguments)]
    environment = os.environ | {"TQDM_DISABLE": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def results(folder: Path, n: int, data: str, ours: list[dict[str, Any]], theirs: dict[str, Any] | None) -> list[Result]:
    """The figures."""
    typical = sorted(ours, key=lambda report: report["seconds"])[len(ours) // 2]
    seconds = median(report["seconds"] for report in ours)
    peak = typical["peak_bytes"] + typical["server_peak_bytes"]
    params: dict[str, Any] = {"rows": n, "data": data, "k": K, "relative_margin": MARGIN, "runs_s": []}
    params["runs_s"] = [report["seconds"] for report in ours]
    params["ours"] = typical
    if theirs is None:
        return [Result("st.seconds", seconds, "s", "lower", params=params)]
    params["theirs"] = theirs | {"range_max": "its default, 10 × k + 1"}
    params["times_its_search_alone"] = theirs["search_s"] / seconds
    found, wanted = shared(np.load(folder / "ours.npy"), np.load(folder / "peer.npy"))
    shares = {"rows": n, "theirs": wanted, "ours": typical["negatives"], "shared": found}
    memory = {
        "ours_mb": peak / 1e6,
        "theirs_mb": theirs["peak_bytes"] / 1e6,
        "ours_client_mb": typical["peak_bytes"] / 1e6,
        "ours_server_mb": typical["server_peak_bytes"] / 1e6,
        "server_growth_while_mining_mb": (typical["server_peak_bytes"] - typical["server_after_upsert_bytes"]) / 1e6,
    }
    return [
        Result("st.speedup", theirs["seconds"] / seconds, "×", "higher", SPEED_UP, PEER, params=params),
        Result("st.found", found / max(wanted, 1), "share", "higher", FOUND, PEER, params=shares),
        Result("st.peak_memory", theirs["peak_bytes"] / peak, "× less", "higher", None, PEER, params=memory),
    ]


def shared(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    """How many of their negatives [n, k], -1 beyond the last, are among ours, and how many there are."""
    there = theirs >= 0
    found = (theirs[:, :, None] == ours[:, None, :]).any(axis=2) & there
    return int(found.sum()), int(there.sum())
