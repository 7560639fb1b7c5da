"""Mines negatives of a whole data set over gRPC, in a process of its own, so that its memory can be told.

As a script: `mine_all.py TARGET PID FOLDER K MARGIN` reads `anchors.npy` and `corpus.npy` (float32 [n, d]; row i of one
is the positive of row i of the other), writes `ours.npy` (int64 [n, K], -1 beyond what was found), and prints times,
the memory of the server PID after the upsert, and its own peak, as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import machine
import negmine
import numpy as np
from numpy.typing import NDArray

BITS = 512
VECTORS = "int8"
BATCH = 1024  # anchors a call
WINDOW = 4  # calls on their way
POOL = 384  # candidates rescored per anchor, in one round: enough for 0.95 of the true negatives on WordNet
OPTIONS: negmine.MineOptions = {
    "scoring": "symmetric",
    "exact": True,
    "pool": POOL,
    "max_scanned": POOL,
    "priority": "bulk",
}


def main(target: str, pid: int, folder: Path, k: int, margin: float) -> None:
    """Upserts the corpus and mines every anchor."""
    anchors, corpus = np.load(folder / "anchors.npy"), np.load(folder / "corpus.npy")
    texts = [f"c{row}" for row in range(len(corpus))]
    with negmine.Client(target) as client:
        begin = time.perf_counter()
        collection = client.create_collection("mine-all", corpus.shape[1], bits=BITS, vectors=VECTORS)
        collection.upsert(np.arange(len(corpus)), corpus)
        upserted = time.perf_counter()
        resident = machine.memory_bytes(pid, "VmRSS")
        stages: dict[str, float] = {}
        found = np.empty((len(anchors), k), np.int64)
        for part, answer in enumerate(collection.mine_stream(calls(anchors, k, margin), window=WINDOW)):
            found[part * BATCH : part * BATCH + len(answer)] = answer.ids
            for stage, ms in answer.timings_ms.items():
                stages[stage] = stages.get(stage, 0.0) + ms / 1e3
        mined = time.perf_counter()
        negatives = [texts[row] for row in found[found >= 0].tolist()]  # the peer hands back texts, so do we
        ended = time.perf_counter()
        collection.drop()
    np.save(folder / "ours.npy", found)
    report = {
        "seconds": ended - begin,
        "upsert_s": upserted - begin,
        "mine_s": mined - upserted,
        "texts_s": ended - mined,
        "negatives": len(negatives),
        "bits": BITS,
        "vectors": VECTORS,
        "options": OPTIONS,
        "anchors_a_call": BATCH,
        "stages_s": stages,
        "server_after_upsert_bytes": resident,
        "peak_bytes": machine.memory_bytes("self", "VmHWM"),
    }
    sys.stdout.write(json.dumps(report) + "\n")


def calls(anchors: NDArray[np.float32], k: int, margin: float) -> Iterator[negmine.MineArgs]:
    """One call after another."""
    protection = negmine.Protection(relative_margin=margin)
    for first in range(0, len(anchors), BATCH):
        rows = np.arange(first, min(first + BATCH, len(anchors)))
        yield negmine.MineArgs(anchors=anchors[rows], k=k, positives=rows, protection=protection, **OPTIONS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
