"""One run: an arm, a task and a seed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training_text.arms import Arm
from training_text.mining import Miner
from training_text.model import Retrieval, Towers, evaluate, info_nce
from training_text.tasks import Task

I64 = NDArray[np.int64]


@dataclass(frozen=True)
class Settings:
    """The same for every arm.

    Attributes:
        mine_every: steps between two minings; each is for the anchors of the steps until the next.
        k: negatives of each anchor beside the batch's own.
    """

    steps: int = 200
    batch: int = 128
    mine_every: int = 50
    k: int = 4
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class Run:
    """What came out.

    Attributes:
        overlaps: share of the true neighbours that the codes find, at each mining.
        starved: share of the anchors with fewer than k negatives.
        seconds: of all, with encoding, mining and evaluation.
    """

    retrieval: Retrieval
    overlaps: list[float]
    starved: float
    seconds: float
    mining_s: float


def train(task: Task, arm: Arm, miner: Miner, settings: Settings, seed: int, rows: I64) -> Run:
    """Trains two heads from this seed; retrieval is that of `rows`. Arms of one seed see the same batches."""
    begin = time.perf_counter()
    torch.manual_seed(seed)
    towers = Towers(task.corpus.shape[1])
    optimizer = torch.optim.AdamW(towers.parameters(), lr=settings.learning_rate)
    random = np.random.default_rng(seed)
    anchors = _anchors(task, settings, random)
    mined = np.empty((0, settings.k), np.int64)
    overlaps: list[float] = []
    starved: list[float] = []
    mining_s = 0.0
    miner.begin(arm)
    for step, rows_now in enumerate(anchors):
        place = step % settings.mine_every
        if place == 0 and arm.source == "mined":
            started = time.perf_counter()
            wanted = anchors[step : step + settings.mine_every].reshape(-1)
            mined = miner.mine(arm, towers, wanted, settings.k, step, overlaps)
            mining_s += time.perf_counter() - started
            starved.append(float((mined < 0).any(axis=1).mean()))
        positives = _one_positive(task, rows_now, random)
        negatives = random.integers(0, len(task.corpus), (settings.batch, settings.k))
        if arm.source == "mined":
            negatives = mined[place * settings.batch : (place + 1) * settings.batch]
        elif arm.source == "batch":
            negatives = _hardest(task, towers, rows_now, negatives)
        optimizer.zero_grad()
        _loss(task, towers, rows_now, positives, negatives).backward()
        optimizer.step()
    retrieval = evaluate(towers, task, rows)
    return Run(retrieval, overlaps, float(np.mean(starved or [0])), time.perf_counter() - begin, mining_s)


def _loss(task: Task, towers: Towers, rows: I64, positives: I64, negatives: I64) -> torch.Tensor:
    """InfoNCE of one batch: positives [B]; negatives [B, k], -1 = none; known positives are left out."""
    queries, corpus = torch.from_numpy(task.queries), torch.from_numpy(task.corpus)
    own = np.where(_known(task, rows, negatives), -1, negatives)
    items = np.unique(negatives[negatives >= 0])
    of_anchor = (items[None, :, None] == own[:, None, :]).any(axis=2)
    in_batch = ~_known(task, rows, np.broadcast_to(positives, (len(positives), len(positives))))
    return info_nce(
        towers.query(queries[rows]),
        towers.document(corpus[positives]),
        towers.document(corpus[items]),
        torch.from_numpy(of_anchor),
        torch.from_numpy(in_batch),
    )


def _anchors(task: Task, settings: Settings, random: np.random.Generator) -> I64:
    """int64 [steps, batch]: the training queries in a new order each time round."""
    need = settings.steps * settings.batch
    rounds = [random.permutation(task.train) for _ in range(-(-need // len(task.train)))]
    return np.concatenate(rounds)[:need].reshape(settings.steps, settings.batch)


def _one_positive(task: Task, rows: I64, random: np.random.Generator) -> I64:
    """One of each query's positives."""
    own = task.positives[rows]
    counts = (own >= 0).sum(axis=1)
    return np.asarray(own[np.arange(len(rows)), random.integers(0, counts)])


def _known(task: Task, rows: I64, items: I64) -> NDArray[np.bool_]:
    """Whether items [B, m] are positives of the queries, or themselves."""
    positives = (items[:, :, None] == task.positives[rows][:, None, :]).any(axis=2)
    return np.asarray(positives | (items == task.own[rows][:, None]))


def _hardest(task: Task, towers: Towers, rows: I64, drawn: I64) -> I64:
    """For each query the k most similar of all that were drawn for the batch."""
    pool = np.unique(drawn)
    scores = towers.encode_queries(task.queries[rows]) @ towers.encode_corpus(task.corpus[pool]).T
    scores[_known(task, rows, np.broadcast_to(pool, scores.shape))] = -np.inf
    nearest = np.argpartition(-scores, drawn.shape[1], axis=1)[:, : drawn.shape[1]]
    return np.asarray(pool[nearest])
