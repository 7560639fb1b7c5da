"""`sentence_transformers.util.mine_hard_negatives` in a process, and an environment, of its own; faiss on.

As a script: `st_miner.py FOLDER K MARGIN` reads `anchors.npy` and `corpus.npy` (float32 [n, d] of unit length; row i of
one is the positive of row i of the other), writes `peer.npy` (int64 [n, K], -1 beyond what it found), and prints its
times and peak memory as JSON. The model is a table of those vectors, so that no time goes into encoding.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Table:
    """Looks like a SentenceTransformer; text "a7" is row 7 of the anchors, "c7" of the corpus."""

    device = "cpu"

    def __init__(self, anchors: NDArray[np.float32], corpus: NDArray[np.float32]) -> None:
        self._rows = {"a": anchors, "c": corpus}

    def encode_query(self, texts: list[str], **_: Any) -> NDArray[np.float32]:
        """The rows that the texts name."""
        return self._rows[texts[0][0]][[int(text[1:]) for text in texts]]

    encode_document = encode_query

    def get_embedding_dimension(self) -> int:
        """Length of a row."""
        return self._rows["a"].shape[1]

    @staticmethod
    def similarity_pairwise(left: Any, right: Any) -> Any:
        """The cosine, as a model's default."""
        from sentence_transformers.util import pairwise_cos_sim

        return pairwise_cos_sim(left, right)


def main(folder: Path, k: int, margin: float) -> None:
    """Mines once."""
    import faiss
    from datasets import Dataset
    from sentence_transformers.util import mine_hard_negatives

    table = Table(np.load(folder / "anchors.npy"), np.load(folder / "corpus.npy"))
    n = len(np.load(folder / "corpus.npy", mmap_mode="r"))
    pairs = Dataset.from_dict({"anchor": [f"a{row}" for row in range(n)], "positive": [f"c{row}" for row in range(n)]})
    search, search_s = faiss.IndexFlatIP.search, 0.0

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal search_s
        begin = time.perf_counter()
        found = search(*args, **kwargs)
        search_s += time.perf_counter() - begin
        return found

    faiss.IndexFlatIP.search = timed
    begin = time.perf_counter()
    mined = mine_hard_negatives(pairs, table, num_negatives=k, relative_margin=margin, use_faiss=True, verbose=False)
    seconds = time.perf_counter() - begin
    peak_kib = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    found = np.full((n, k), -1, np.int64)
    anchors = np.array([int(text[1:]) for text in mined["anchor"]])
    first = np.searchsorted(anchors, np.arange(n))  # its triplets come anchor by anchor
    found[anchors, np.arange(len(anchors)) - first[anchors]] = [int(text[1:]) for text in mined["negative"]]
    np.save(folder / "peer.npy", found)
    report = {"seconds": seconds, "search_s": search_s, "peak_bytes": int(peak_kib) * 1024}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
