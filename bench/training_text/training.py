"""One run: an arm, a task and a seed."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

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


@dataclass
class Run:
    """What came out."""

    retrieval: Retrieval
    overlaps: list[float] = field(default_factory=list)
    starved: float = 0.0
    seconds: float = 0.0
    mining_s: float = 0.0


def train(task: Task, arm: Arm, miner: Miner, settings: Settings, seed: int, rows: I64) -> Run:
    """Trains two heads from this seed; retrieval is that of `rows`. Arms of one seed see the same batches."""
    begin = time.perf_counter()
    torch.manual_seed(seed)
    towers = Towers(task.corpus.shape[1])
    optimizer = torch.optim.AdamW(towers.parameters(), lr=settings.learning_rate)
    random = np.random.default_rng(seed)
    anchors = _anchors(task, settings, random)
    run = Run(Retrieval(0, 0, 0))
    miner.begin(arm)
    queries, corpus = torch.from_numpy(task.queries), torch.from_numpy(task.corpus)
    mined = np.empty((0, settings.k), np.int64)
    for step in range(settings.steps):
        place = step % settings.mine_every
        if place == 0 and arm.source == "mined":
            wanted = anchors[step : step + settings.mine_every].reshape(-1)
            started = time.perf_counter()
            mined = miner.mine(arm, towers, wanted, settings.k, step, run.overlaps)
            run.mining_s += time.perf_counter() - started
            run.starved += float((mined < 0).any(axis=1).mean()) * settings.mine_every / settings.steps
        rows_now = anchors[step]
        positives = _one_positive(task, rows_now, random)
        drawn = random.integers(0, len(corpus), (settings.batch, settings.k))
        if arm.source == "mined":
            negatives = mined[place * settings.batch : (place + 1) * settings.batch]
        elif arm.source == "batch":
            negatives = _hardest(task, towers, rows_now, drawn)
        else:
            negatives = drawn
        items = np.unique(negatives[negatives >= 0])
        allowed = (items[None, :, None] == np.where(_known(task, rows_now, negatives), -1, negatives)[:, None, :]).any(
            2
        )
        in_batch = ~_known(task, rows_now, np.broadcast_to(positives, (len(positives), len(positives))))
        loss = info_nce(
            towers.query(queries[rows_now]),
            towers.document(corpus[positives]),
            towers.document(corpus[items]),
            torch.from_numpy(allowed),
            torch.from_numpy(in_batch),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    run.retrieval = evaluate(towers, task, rows)
    run.seconds = time.perf_counter() - begin
    return run


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
