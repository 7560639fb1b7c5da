"""Two small residual heads on frozen vectors, InfoNCE, and retrieval over the whole corpus."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from training_text.tasks import Task

WIDTH = 256
TEMPERATURE = 0.05
CHUNK = 16_384

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


class Head(nn.Module):
    """x -> unit(x + W2 gelu(W1 x)); the identity at the start."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.wide = nn.Linear(dimension, WIDTH)
        self.narrow = nn.Linear(WIDTH, dimension)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[..., d] -> [..., d] of unit length."""
        return functional.normalize(rows + self.narrow(functional.gelu(self.wide(rows))), dim=-1)


class Towers(nn.Module):
    """One head for queries, one for the corpus."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.query = Head(dimension)
        self.document = Head(dimension)

    @torch.inference_mode()
    def encode_queries(self, rows: F32) -> F32:
        """As they are mined with and looked up."""
        return np.asarray(self.query(torch.from_numpy(rows)).numpy())

    @torch.inference_mode()
    def encode_corpus(self, rows: F32) -> F32:
        """In pieces."""
        parts = [self.document(torch.from_numpy(rows[at : at + CHUNK])) for at in range(0, len(rows), CHUNK)]
        return np.asarray(torch.cat(parts).numpy())


def info_nce(
    queries: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    allowed: torch.Tensor,
    allowed_in_batch: torch.Tensor,
) -> torch.Tensor:
    """InfoNCE over the positive, the batch's other positives, and each anchor's own negatives.

    Args:
        queries, positives: [B, d], of unit length.
        negatives: [m, d], those of all anchors.
        allowed: bool [B, m]: which of them are the anchor's.
        allowed_in_batch: bool [B, B]: false where the other's positive is one of this anchor's, or itself.
    """
    batch = (queries @ positives.T) / TEMPERATURE
    own = (queries @ negatives.T) / TEMPERATURE
    logits = torch.cat(
        [
            batch.diagonal()[:, None],
            batch.masked_fill(~allowed_in_batch, -torch.inf),
            own.masked_fill(~allowed, -torch.inf),
        ],
        dim=1,
    )
    return -functional.log_softmax(logits, dim=1)[:, 0].mean()


@dataclass(frozen=True)
class Retrieval:
    """Over the whole corpus, of the best placed positive; the query itself is no answer."""

    mrr_10: float
    recall_1: float
    recall_5: float


def evaluate(towers: Towers, task: Task, rows: I64, chunk: int = 500) -> Retrieval:
    """Retrieval of these rows of the task's queries."""
    corpus = torch.from_numpy(towers.encode_corpus(task.corpus)).T
    ranks = []
    for start in range(0, len(rows), chunk):
        part = rows[start : start + chunk]
        scores = torch.from_numpy(towers.encode_queries(task.queries[part])) @ corpus
        positives = torch.from_numpy(task.positives[part])
        best = scores.gather(1, positives.clamp(min=0)).masked_fill(positives < 0, -torch.inf).amax(dim=1)
        own = torch.from_numpy(task.own[part])
        itself = scores.gather(1, own.clamp(min=0)[:, None])[:, 0].masked_fill(own < 0, -torch.inf)
        ranks.append((scores > best[:, None]).sum(dim=1) - (itself > best).long() + 1)
    rank = torch.cat(ranks).double()
    return Retrieval(
        float(torch.where(rank <= 10, 1 / rank, 0).mean()),
        float((rank <= 1).double().mean()),
        float((rank <= 5).double().mean()),
    )
