"""Linear probe of self-supervised encoders: SimCLR, and the losses that weigh its negatives, on the same batches.

Two views of each of N images make 2N anchors; an anchor's negatives are the 2N - 2 views of other images. UnReMix
weights come from the server: the step's embeddings take the place of the last step's, and each of them mines the whole
pool of the others, with weights. Labels are for the probe: logistic regression on the features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import negmine
import numpy as np
import torch
from negmine import losses
from numpy.typing import NDArray
from torch import nn

from images.augment import view
from images.data import CLASSES, Images
from images.network import FEATURES, Embedder, apply

BATCH = 128  # images; twice as many views
VIEWS = 2 * BATCH
TEMPERATURE = 0.5
RATE = 3e-3
HIDDEN = 128
POLICY: Final = negmine.Unremix(1 / 3, 1 / 3, 1 / 3, TEMPERATURE, VIEWS - 2, weights_only=True)
PROBE_STEPS = 100
DECAY = 1e-4

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # cosines [2N] and [2N, 2N - 2] to a number

# `debiased` is what the papers on HCL and UnReMix call DCL; `dcl` is the decoupled loss.
PLAIN: Final[dict[str, Loss]] = {
    "simclr": lambda positive, negative: losses.info_nce(positive, negative, temperature=TEMPERATURE),
    "dcl": lambda positive, negative: losses.dcl(positive, negative, temperature=TEMPERATURE),
    "debiased": lambda positive, negative: losses.debiased(positive, negative, temperature=TEMPERATURE),
    "hcl": lambda positive, negative: losses.hcl(positive, negative, temperature=TEMPERATURE),
}
ARMS: Final = (*PLAIN, "unremix")


@dataclass(frozen=True)
class Layout:
    """Which of the 2N views, first all first views and then all second ones, are whose positive and negatives."""

    positives: torch.Tensor  # [2N]
    negatives: torch.Tensor  # [2N, 2N - 2], ascending

    @staticmethod
    def make() -> Layout:
        """For BATCH images."""
        views = torch.arange(VIEWS)
        others = views[None] % BATCH != views[:, None] % BATCH
        return Layout((views + BATCH) % VIEWS, others.nonzero()[:, 1].view(VIEWS, VIEWS - 2))


def train(collection: negmine.Collection, arm: str, items: Images, epochs: int, seed: int) -> nn.Module:
    """Trains one arm, and returns its features. The collection is empty; the arm `unremix` alone fills it."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model, layout = Embedder(HIDDEN), Layout.make()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    steps = len(items) // BATCH
    with collection.writer() as writer:
        for epoch in range(epochs):
            order = torch.randperm(len(items), generator=random)
            for step, rows in enumerate(order[: steps * BATCH].split(BATCH), epoch * steps):
                pixels = items.pixels[rows]
                embeddings = model(torch.cat([view(pixels, random), view(pixels, random)]))
                cosines = embeddings @ embeddings.T
                positive = cosines.gather(1, layout.positives[:, None])[:, 0]
                negative = cosines.gather(1, layout.negatives)
                if arm in PLAIN:
                    loss = PLAIN[arm](positive, negative)
                else:
                    weights = mined(collection, writer, embeddings.detach(), layout, step)
                    loss = losses.info_nce(positive, negative, temperature=TEMPERATURE, weights=weights)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.features


def mined(
    collection: negmine.Collection, writer: negmine.Writer, embeddings: torch.Tensor, layout: Layout, step: int
) -> torch.Tensor:
    """UnReMix weights [2N, 2N - 2] of a step's negatives; the items are the places in the batch."""
    ids = np.arange(VIEWS)
    writer.send(ids, embeddings, step=step)
    writer.flush()
    found = collection.mine(
        embeddings, VIEWS - 2, own_ids=ids, positives=layout.positives, policy=POLICY,
        exact=True, scoring="float", return_weights=True,
    )  # fmt: skip
    assert (found.counts == VIEWS - 2).all(), "not the whole batch came back"
    weights = torch.zeros(VIEWS, VIEWS)
    return weights.scatter_(1, found.ids, found.weights).gather(1, layout.negatives)


def accuracy(features: nn.Module, items: Images, test: Images) -> float:
    """Of logistic regression on standardised features of `items`, on `test`."""
    seen, asked = (torch.from_numpy(apply(features, images.pixels)) for images in (items, test))
    mean, deviation = seen.mean(0), seen.std(0) + 1e-5
    seen, asked = (seen - mean) / deviation, (asked - mean) / deviation
    labels = torch.from_numpy(items.labels)
    probe = nn.Linear(FEATURES, CLASSES)
    nn.init.zeros_(probe.weight)
    nn.init.zeros_(probe.bias)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=PROBE_STEPS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(probe(seen), labels) + DECAY * probe.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        right: NDArray[np.bool_] = probe(asked).argmax(1).numpy() == test.labels
    return float(right.mean())
