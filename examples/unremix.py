"""Training with UnReMix as a service, in PyTorch: the server weighs negatives, the trainer says how unsure it is.

    make serve                                     # in another terminal
    python -m examples.unremix [host:port]

UnReMix (2022) interpolates three terms for each candidate negative: uncertainty, similarity to the anchor and
representativeness. That form was read in the paper; the three terms, and what stands for uncertainty here, are rebuilt:

- The server ranks an anchor's pool by the three terms, returns the K best, and their weights with mean 1.
- The loss is InfoNCE with these weights.
- How unsure the model is of an item is read off the backward pass: the length of the loss's gradient with respect to
  the negative's embedding, averaged over the anchors that met it and scaled to [0, 1]. It is upserted with the item and
  takes the place of the term that the server would estimate itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import negmine
import numpy as np
import torch
from negmine import losses
from torch.nn.functional import normalize

from examples.trainer_loop import DIMENSION, FEATURES, ITEMS, Data, K, batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from examples.trainer_loop import F32, I64

TEMPERATURE, RATE = 0.2, 0.03
POLICY: Final = negmine.Unremix(
    lambda_uncertainty=1 / 3, lambda_similarity=1 / 3, lambda_representativeness=1 / 3, tau=TEMPERATURE, pool=64
)


class Trainer:
    """A linear encoder of unit vectors, and its optimizer."""

    def __init__(self, data: Data) -> None:
        torch.manual_seed(0)
        self.features = torch.from_numpy(data.features)
        self.model = torch.nn.Linear(FEATURES, DIMENSION, bias=False)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE)

    def embed(self, rows: torch.Tensor) -> torch.Tensor:
        """Unit vectors [..., DIMENSION] of items [...]."""
        return normalize(self.model(self.features[rows]), dim=-1)

    @torch.no_grad()
    def embedded(self, rows: I64) -> F32:
        """The same without a gradient, as an array."""
        array: F32 = self.embed(torch.from_numpy(rows)).numpy()
        return array

    def step(self, rows: I64, positives: I64, found: negmine.Negatives) -> tuple[float, I64, F32]:
        """One step on a batch; returns its loss, the ids of its negatives, and how uncertain each is, in [0, 1]."""
        anchors, positive = self.embed(torch.from_numpy(rows)), self.embed(torch.from_numpy(positives))
        present = losses.present(found)
        others = self.embed(torch.from_numpy(np.where(present, found.ids, 0)))
        others.retain_grad()
        loss = losses.info_nce(
            (anchors * positive).sum(1),
            torch.einsum("bd,bkd->bk", anchors, others),
            mask=present,
            weights=found.weights,
            temperature=TEMPERATURE,
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        lengths = others.grad.norm(dim=2).numpy()[present] * (present.any(1).sum() * TEMPERATURE)  # of the loss's mean
        ids, places = np.unique(found.ids[present], return_inverse=True)
        return loss.item(), ids, np.bincount(places, lengths) / np.bincount(places)


def precision(trainer: Trainer, labels: I64) -> float:
    """Share of items whose nearest neighbour is of their class."""
    embeddings = trainer.embedded(np.arange(ITEMS))
    scores = embeddings @ embeddings.T
    np.fill_diagonal(scores, -1)
    return float((labels[scores.argmax(1)] == labels).mean())


def train(target: str, say: Callable[[str], object] = print) -> tuple[float, float]:
    """Trains against a server; returns the precision before and after."""
    random = np.random.default_rng(0)
    data = Data.make(random)
    trainer, labels, ids = Trainer(data), data.labels, np.arange(ITEMS)
    before = precision(trainer, labels)

    def mine(rows: I64) -> negmine.MineArgs:
        return {
            "anchors": trainer.embedded(rows),
            "k": K,
            "own_ids": rows,
            "groups": labels[rows],
            "policy": POLICY,
            "return_weights": True,
        }

    with negmine.Client(target) as client:
        collection = client.create_collection("unremix", DIMENSION, bits=256, vectors="float16", exist_ok=True)
        collection.start_generation()  # a second run of this example is not taken for the first one's stragglers
        collection.upsert(ids, trainer.embedded(ids), groups=labels)
        with collection.writer() as writer:
            for step, (rows, found) in enumerate(negmine.Prefetcher(collection, batches(seed=1), mine), 1):
                positives = np.array([random.choice(np.flatnonzero(labels == label)) for label in labels[rows]])
                loss, met, unsure = trainer.step(rows, positives, found)
                fresh = np.union1d(rows, met)
                uncertainties = np.full(len(fresh), np.nan, np.float32)  # anchors that nobody met: the server's own
                uncertainties[np.searchsorted(fresh, met)] = unsure
                writer.send(
                    fresh, trainer.embedded(fresh), step=step, groups=labels[fresh], uncertainties=uncertainties
                )
                if step % 10 == 0:
                    own = precision(trainer, labels)
                    say(f"step {step:3}  loss {loss:.3f}  nearest neighbour of own class {own:.0%}")
        told = np.isfinite(collection.fetch(ids).uncertainties).mean()
        say(f"{writer.result.rows:,} rows upserted; {told:.0%} of the items carry the trainer's uncertainty")
    return before, precision(trainer, labels)


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "localhost:7654")
