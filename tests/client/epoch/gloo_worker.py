"""One rank of two, over gloo: trains nothing, but goes through the loop. Prints what it saw as a line of JSON.

python gloo_worker.py RANK INIT_FILE TARGET COLLECTION
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import negmine
import numpy as np
import torch.distributed
from negmine import epoch

SIZE, DIMENSION, CLANS = 120, 16, 20
CLAN = np.arange(SIZE) % CLANS


def embed(rows: Any, number: int) -> np.ndarray:
    """Embeddings that lie in clans and drift from epoch to epoch; the same on every rank."""
    random = np.random.default_rng(number)
    centres = random.normal(size=(CLANS, DIMENSION))[CLAN]
    vectors: np.ndarray = (centres + random.normal(size=(SIZE, DIMENSION)) * 0.2).astype(np.float32)
    return vectors[rows]


def digest(table: np.ndarray) -> str:
    return hashlib.blake2b(table.tobytes(), digest_size=8).hexdigest()


def loop(collection: negmine.Collection, ranks: epoch.Ranks) -> dict[str, Any]:
    """Three epochs: random batches, then composed ones."""
    seen: dict[str, Any] = {"plans": [], "mine": [], "tables": []}
    sampler = epoch.BatchSampler(SIZE, 6, seed=1, recipe=epoch.Recipe(3, 2, 5), ranks=ranks)
    with epoch.Incremental(
        collection, SIZE, neighbours=5, options={"scoring": "symmetric", "exact": True}, ranks=ranks
    ) as miner:
        for number in range(3):
            sampler.set_epoch(number)
            seen["plans"].append(sampler.plan)
            seen["mine"].append(list(sampler))
            for step, rows in enumerate(sampler):
                miner.add(rows, embed(rows, number), step=100 * number + step)
            table = miner.mine()
            seen["tables"].append(digest(table))
            sampler.update(table)
    seen["pure"] = float((CLAN[table] == CLAN[:, None]).mean())
    return seen


def failing(collection: negmine.Collection, ranks: epoch.Ranks) -> dict[str, Any]:
    """One rank fails to encode its share; what each rank is told, and that all of them may try again."""
    trouble = ranks.rank == 1

    def encode(rows: np.ndarray) -> np.ndarray:
        if trouble:
            raise RuntimeError("out of memory")
        return embed(rows, 9)

    seen: dict[str, Any] = {"failed": "nothing was raised"}
    with epoch.Full(collection, SIZE, encode, neighbours=5, ranks=ranks) as miner:
        miner.add([], np.empty((0, DIMENSION)), step=1000)
        try:
            miner.mine()
        except (negmine.Aborted, RuntimeError) as error:
            seen["failed"] = f"{type(error).__name__}: {error}"
        trouble = False
        table = miner.mine()
    seen["full"] = digest(table)
    seen["full_pure"] = float((CLAN[table] == CLAN[:, None]).mean())
    return seen


def main() -> None:
    rank, file, target, name = sys.argv[1:]
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{file}", rank=int(rank), world_size=2)
    with negmine.Client(target) as client:
        collection, ranks = client.collection(name), epoch.TorchRanks()
        seen = {**loop(collection, ranks), **failing(collection, ranks)}
    print(json.dumps(seen), flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
