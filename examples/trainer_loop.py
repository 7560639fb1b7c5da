"""A contrastive trainer with mined negatives, small enough to read: numpy alone, a linear encoder, a triplet loss.

    make serve                                     # in another terminal
    python -m examples.trainer_loop [host:port]

Every step trains on negatives that were mined while the step before it trained, and upserts its fresh embeddings.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import negmine
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

ITEMS, CLASSES, FEATURES, DIMENSION = 3000, 60, 64, 16
BATCH, STEPS, K = 128, 60, 8
RATE, MARGIN = 0.5, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """Items of CLASSES classes: a class has a centre in a few of the features, everything else is loud noise."""

    features: F32  # [ITEMS, FEATURES]
    labels: I64  # [ITEMS]

    @staticmethod
    def make(random: np.random.Generator) -> Data:
        labels = random.integers(CLASSES, size=ITEMS)
        features = random.normal(size=(ITEMS, FEATURES)) * 1.5
        features[:, :DIMENSION] = random.normal(size=(CLASSES, DIMENSION))[labels]
        features[:, :DIMENSION] += random.normal(size=(ITEMS, DIMENSION)) * 0.3
        mixing = np.linalg.qr(random.normal(size=(FEATURES, FEATURES)))[0]
        return Data((features @ mixing).astype(np.float32), labels)


class Model:
    """Embeddings are `features @ weights`, scaled to unit length."""

    def __init__(self, random: np.random.Generator) -> None:
        self.weights = (random.normal(size=(FEATURES, DIMENSION)) / np.sqrt(FEATURES)).astype(np.float32)

    def embed(self, features: F32) -> F32:
        """Unit vectors [..., DIMENSION] of features [..., FEATURES]."""
        raw: F32 = features @ self.weights
        unit: F32 = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
        return unit

    def train(self, anchors: F32, positives: F32, negatives: F32) -> float:
        """One gradient step on mean(max(0, MARGIN - s(a, p) + s(a, n))); returns that loss.

        `anchors` and `positives` are features [B, FEATURES], `negatives` [B, K, FEATURES].
        """
        a, p, n = (self.embed(x) for x in (anchors, positives, negatives))
        hinge = MARGIN - np.einsum("bd,bd->b", a, p)[:, None] + np.einsum("bd,bkd->bk", a, n)
        active = (hinge > 0).astype(np.float32) / hinge.size
        by_anchor = np.einsum("bk,bkd->bd", active, n) - active.sum(1, keepdims=True) * p
        by_positive = -active.sum(1, keepdims=True) * a
        by_negative = active[..., None] * a[:, None, :]
        gradient = sum(
            np.tensordot(x, self._through_norm(x, by), (range(x.ndim - 1),) * 2)
            for x, by in ((anchors, by_anchor), (positives, by_positive), (negatives, by_negative))
        )
        self.weights = self.weights - np.float32(RATE) * np.asarray(gradient, np.float32)
        return float(np.maximum(hinge, 0).mean())

    def _through_norm(self, features: F32, by_unit: F32) -> F32:
        """The gradient by the raw embedding, from that by the unit one."""
        raw = features @ self.weights
        length = np.linalg.norm(raw, axis=-1, keepdims=True)
        unit = raw / length
        tangent: F32 = by_unit - unit * np.sum(by_unit * unit, -1, keepdims=True)
        result: F32 = tangent / length
        return result


def batches(seed: int) -> Iterator[I64]:
    """Rows of each step's anchors; read on the prefetcher's thread, so it draws from a generator of its own."""
    random = np.random.default_rng(seed)
    for _ in range(STEPS):
        yield random.choice(ITEMS, BATCH, replace=False)


def precision(model: Model, data: Data) -> float:
    """Share of items whose nearest neighbour is of their class."""
    embeddings = model.embed(data.features)
    scores = embeddings @ embeddings.T
    np.fill_diagonal(scores, -1)
    return float((data.labels[scores.argmax(1)] == data.labels).mean())


def train(target: str, say: Callable[[str], object] = print) -> tuple[float, float]:
    """Trains against the server at `target`; returns the precision before and after."""
    random = np.random.default_rng(0)
    data, model = Data.make(random), Model(random)
    ids = np.arange(ITEMS)
    before = precision(model, data)

    def mine(rows: I64) -> negmine.MineArgs:
        return {"anchors": model.embed(data.features[rows]), "k": K, "own_ids": rows, "groups": data.labels[rows]}

    with negmine.Client(target) as client:
        collection = client.create_collection("trainer-loop", DIMENSION, bits=256, exist_ok=True)
        collection.start_generation()  # a second run of this example is not taken for the first one's stragglers
        collection.upsert(ids, model.embed(data.features), groups=data.labels)
        with collection.writer() as writer:
            for step, (rows, negatives) in enumerate(negmine.Prefetcher(collection, batches(seed=1), mine), 1):
                positives = [random.choice(np.flatnonzero(data.labels == label)) for label in data.labels[rows]]
                # With 60 classes no anchor is starved: `ids` has no -1. Else mask what lies beyond `negatives.counts`.
                loss = model.train(data.features[rows], data.features[positives], data.features[negatives.ids])
                writer.send(rows, model.embed(data.features[rows]), step=step, groups=data.labels[rows])
                if step % 10 == 0:
                    say(f"step {step:3}  loss {loss:.3f}  nearest neighbour of own class {precision(model, data):.0%}")
        newest = collection.info().newest
        say(f"{writer.result.rows:,} rows upserted; the collection's newest version is {newest}")
    return before, precision(model, data)


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "localhost:7654")
