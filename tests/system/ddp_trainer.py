"""One rank of a training run over gloo, as a process of its own: a small model under DistributedDataParallel.

    python ddp_trainer.py '{"rank": 0, "store": "/tmp/store", "target": "127.0.0.1:7654", "on_error": "in_batch", …}'

It writes one line of JSON a step, and trains until its group is told to stop by a line on rank 0's standard input, or
until an error ends it, which goes to standard error as Python writes it.
"""

from __future__ import annotations

import itertools
import json
import select
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import negmine
import numpy as np
import torch
import torch.distributed as dist
from negmine import losses
from torch.nn.parallel import DistributedDataParallel

ITEMS, FEATURES, DIMENSION, BATCH, K = 400, 24, 16, 8, 4
TIMEOUT_S = 1.0  # of mining for one batch


def features() -> Any:
    """What every rank trains on: [ITEMS, FEATURES]."""
    return torch.from_numpy(np.random.default_rng(0).normal(size=(ITEMS, FEATURES)).astype(np.float32))


def batches(rank: int) -> Iterator[Any]:
    random = np.random.default_rng(1 + rank)
    for _ in itertools.count():
        yield torch.from_numpy(random.choice(ITEMS, BATCH, replace=False))


def loss_of(model: Any, items: Any, rows: Any, negatives: negmine.Negatives | None) -> Any:
    """InfoNCE; one forward call on either branch, so that ranks may differ in theirs."""
    given = [items[rows], items[rows] + 0.1 * torch.randn(BATCH, FEATURES)]
    if negatives is not None:
        given.append(items[negatives.ids.clamp(min=0)].flatten(0, 1))
    unit = torch.nn.functional.normalize(model(torch.cat(given)), dim=1)
    anchors, positives, others = unit[:BATCH], unit[BATCH : 2 * BATCH], unit[2 * BATCH :].view(-1, K, DIMENSION)
    if negatives is None:
        scores, mask = losses.in_batch(anchors, positives)
    else:
        scores, mask = torch.einsum("bd,bkd->bk", anchors, others), losses.present(negatives)
    return losses.info_nce((anchors * positives).sum(1), scores, mask=mask, temperature=0.1)


def told_to_stop(rank: int) -> bool:
    """Whether rank 0 was told to; agreed upon by all ranks."""
    told = rank == 0 and bool(select.select([sys.stdin], [], [], 0)[0])
    flag = torch.tensor(int(told))
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def train(rank: int, target: str, on_error: Any) -> None:
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(FEATURES, DIMENSION))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    items = features()

    def mine(rows: Any) -> negmine.MineArgs:
        return {"anchors": items[rows][:, :DIMENSION], "k": K, "own_ids": rows}

    with negmine.Client(target) as client:
        prefetcher = negmine.Prefetcher(
            client.collection("ddp"), batches(rank), mine, on_error=on_error, timeout_s=TIMEOUT_S
        )
        began = time.monotonic()
        for step, (rows, negatives) in enumerate(prefetcher):
            waited_s = time.monotonic() - began
            optimizer.zero_grad()
            loss_of(model, items, rows, negatives).backward()
            optimizer.step()
            line = {"step": step, "mined": negatives is not None, "missed": prefetcher.missed, "waited_s": waited_s}
            line |= {"step_s": time.monotonic() - began, "weights": model.module.weight.sum().item()}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
            if told_to_stop(rank):
                prefetcher.close()
                return
            began = time.monotonic()


def main(rank: int, store: str, target: str, on_error: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=600)
    )
    train(rank, target, on_error)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
