"""The loop of the LSH paper in PyTorch: this epoch's embeddings compose the next epoch's batches.

    make serve                                 # in another terminal
    python -m examples.lsh_loop [host:port]    # needs torch

Streets of houses that look alike: a random batch holds houses of many streets, which are easy to tell apart. Batches
composed of neighbours are made of one street's houses, so the encoder has to learn what tells those apart.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import negmine
import torch
from negmine import epoch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

if TYPE_CHECKING:
    from collections.abc import Callable

STREETS, HOUSES, PART, FEATURES, DIMENSION = 40, 50, 16, 96, 32
PAIRS = STREETS * HOUSES
BATCH, EPOCHS, TEMPERATURE, RATE = 50, 6, 0.1, 3e-3
RECIPE = epoch.Recipe(nearest=16, random=16, pool=48)


def views(count: int) -> list[torch.Tensor]:
    """Features [PAIRS, FEATURES] of the same houses, seen several times: street, details, and much noise."""
    street = torch.randn(STREETS, PART).repeat_interleave(HOUSES, dim=0)
    house = torch.cat([street, 0.4 * torch.randn(PAIRS, PART)], dim=1)
    mixing = torch.linalg.qr(torch.randn(FEATURES, FEATURES))[0]
    noise = ((0.2 * torch.randn(PAIRS, 2 * PART), torch.randn(PAIRS, FEATURES - 2 * PART)) for _ in range(count))
    return [torch.cat([house + near, far], dim=1) @ mixing for near, far in noise]


def recall(model: torch.nn.Module, queries: torch.Tensor, references: torch.Tensor) -> float:
    """Share of queries whose nearest reference is their own."""
    with torch.no_grad():
        nearest = (functional.normalize(model(queries)) @ functional.normalize(model(references)).T).argmax(1)
    return float((nearest == torch.arange(PAIRS)).float().mean())


def train(miner: epoch.Miner, say: Callable[[str], object] = print) -> float:
    """Trains an encoder on the batches that the miner's neighbours give; the recall of unseen queries."""
    torch.manual_seed(0)
    queries, references, unseen = views(3)
    model = torch.nn.Linear(FEATURES, DIMENSION, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    sampler = epoch.BatchSampler(PAIRS, BATCH, recipe=RECIPE)
    loader = DataLoader(TensorDataset(torch.arange(PAIRS), queries, references), batch_sampler=sampler)
    step = 0
    for number in range(EPOCHS):
        sampler.set_epoch(number)
        for rows, some_queries, some_references in loader:
            step += 1
            anchors, items = (functional.normalize(model(x)) for x in (some_queries, some_references))
            loss = functional.cross_entropy(anchors @ items.T / TEMPERATURE, torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            miner.add(rows, anchors, items, step=step)
        sampler.update(miner.mine())
        say(f"epoch {number + 1}  loss {loss.item():.3f}  recall@1 {recall(model, unseen, references):.1%}")
    return recall(model, unseen, references)


def compare(target: str, say: Callable[[str], object] = print) -> dict[str, float]:
    """Trains the same encoder with random batches, and with the LSH codes of the server at `target`."""
    found: dict[str, float] = {}
    with negmine.Client(target) as client:
        collection = client.create_collection("lsh-loop", DIMENSION, bits=128, exist_ok=True)
        collection.start_generation()  # a second run of this example is not taken for the first one's stragglers
        mined = epoch.Incremental(collection, PAIRS, neighbours=RECIPE.pool, options={"scoring": "symmetric"})
        for name, miner in (("random", epoch.Random()), ("LSH", mined)):
            say(f"{name} batches")
            with miner:
                found[name] = train(miner, say)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    compare(sys.argv[1] if len(sys.argv) > 1 else "localhost:7654")
