"""Supervised-metric retrieval: InfoNCE with a positive of the same class and k negatives mined from a band of ranks.

At the start of each epoch the corpus is embedded and upserted, and every anchor's negatives come from the server; items
of the anchor's class never do (groups). Arms differ in the policy alone: seeds, anchors and positives are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import negmine
import numpy as np
import torch
from negmine import losses
from numpy.typing import NDArray

from images.data import CLASSES, Images
from images.network import DIMENSION, Embedder, apply

ARMS: Final[Mapping[str, negmine.Policy]] = {
    "random": negmine.Mixed(1.0, negmine.Top()),
    "nearest1500": negmine.Window(0, 1500, "random"),
    "nearest300": negmine.Window(0, 300, "random"),
    "nearest20": negmine.Window(0, 20, "random"),
}
BITS = 256
BATCH = 128
K = 4
TEMPERATURE = 0.1
RATE = 1e-3
ANCHORS_A_CALL = 1024
RANKS = 100  # of mAP@100
QUERIES = 1000  # scored at once


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    items: int  # of the corpus, the first of the training images
    epochs: int


@dataclass(frozen=True)
class Quality:
    """Retrieval of test images by test images, each query leaving itself out."""

    r_at_1: float
    map_at_100: float


def train(collection: negmine.Collection, policy: negmine.Policy, items: Images, epochs: int, seed: int) -> Embedder:
    """Trains one arm in an empty collection."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = Embedder()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    members = [np.flatnonzero(items.labels == label) for label in range(CLASSES)]
    for epoch in range(epochs):
        order = random.permutation(len(items))
        positives = np.array([random.choice(members[label]) for label in items.labels[order]])
        embeddings = apply(model, items.pixels)
        collection.upsert(np.arange(len(items)), embeddings, step=epoch, groups=items.labels)
        negatives = mine(collection, policy, embeddings, items.labels, order, seed=seed * 1000 + epoch)
        model.train()
        for first in range(0, len(order) - BATCH + 1, BATCH):
            batch = slice(first, first + BATCH)
            rows = np.concatenate([order[batch], positives[batch], negatives[batch].ravel()])
            anchors, others = model(items.pixels[rows]).split([BATCH, BATCH * (1 + K)])
            positive = (anchors * others[:BATCH]).sum(1)
            negative = torch.einsum("bd,bkd->bk", anchors, others[BATCH:].view(BATCH, K, DIMENSION))
            loss = losses.info_nce(positive, negative, temperature=TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def mine(
    collection: negmine.Collection,
    policy: negmine.Policy,
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    order: NDArray[np.int64],
    seed: int,
) -> NDArray[np.int64]:
    """Ids [n, K] of negatives of the anchors `order` [n]."""

    def calls() -> Iterator[negmine.MineArgs]:
        for first in range(0, len(order), ANCHORS_A_CALL):
            own = order[first : first + ANCHORS_A_CALL]
            yield negmine.MineArgs(
                anchors=embeddings[own], k=K, own_ids=own, groups=labels[own],
                policy=policy, exact=True, seed=seed, priority="bulk",
            )  # fmt: skip

    found = np.concatenate([negatives.ids for negatives in collection.mine_stream(calls())])
    assert (found >= 0).all(), "an anchor is starved"
    assert (labels[found] != labels[order][:, None]).all(), "a negative is of its anchor's class"
    return found


def evaluate(model: Embedder, test: Images) -> Quality:
    """R@1, and mAP@100: the mean over the first 100 ranks of the precision there, 0 where the item is of another class.

    Every class has more than 100 items in the gallery.
    """
    embeddings = torch.from_numpy(apply(model, test.pixels))
    labels = torch.from_numpy(test.labels)
    first: list[torch.Tensor] = []
    averages: list[torch.Tensor] = []
    for start in range(0, len(test), QUERIES):
        queries = torch.arange(start, min(start + QUERIES, len(test)))
        scores = embeddings[queries] @ embeddings.T
        scores[torch.arange(len(queries)), queries] = -torch.inf
        hits = (labels[scores.topk(RANKS, dim=1).indices] == labels[queries, None]).float()
        precision = hits.cumsum(1) / torch.arange(1, RANKS + 1)
        first.append(hits[:, 0])
        averages.append((precision * hits).mean(1))
    return Quality(torch.cat(first).mean().item(), torch.cat(averages).mean().item())
