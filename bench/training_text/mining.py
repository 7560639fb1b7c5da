"""Negatives from a real server: the corpus as the current head sees it, upserted before each mining."""

from __future__ import annotations

from dataclasses import dataclass, field

import negmine
import numpy as np
from numpy.typing import NDArray

from training_text.arms import POOL, PROTECTION, UNREMIX, WIDTHS, Arm
from training_text.model import Towers
from training_text.tasks import Task

CALL = 2_048  # anchors a call
VECTORS_BITS = 512  # codes of the collection that keeps vectors
RESCORED = 4 * POOL  # candidates of an anchor in the arms of UnReMix, which looks at POOL of them
NEIGHBOURS = 64  # of the overlap with the true ones
SAMPLE = 128  # anchors that it is measured on

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass
class Miner:
    """The collections of one task, one a width of code, and one that keeps vectors.

    The encoder's mean is that of the corpus before training, and stays.
    """

    client: negmine.Client
    task: Task
    collections: dict[int, negmine.Collection] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mean = self.task.corpus.mean(axis=0)
        for bits in (*WIDTHS, 0):
            self.collections[bits] = self.client.create_collection(
                f"{self.task.name}-{bits or 'vectors'}",
                self.task.corpus.shape[1],
                bits=bits or VECTORS_BITS,
                vectors="none" if bits else "int8",
                mean=mean,
            )

    def begin(self, arm: Arm) -> None:
        """A new run: its steps win over those of the run before."""
        if arm.source == "mined":
            self.collections[arm.bits].start_generation()

    def mine(self, arm: Arm, towers: Towers, rows: I64, k: int, step: int, overlaps: list[float]) -> I64:
        """Encodes the corpus, upserts it as of this step and mines these rows of the task's queries.

        Returns:
            int64 [len(rows), k], -1 where an anchor is starved.
        """
        corpus, queries = towers.encode_corpus(self.task.corpus), towers.encode_queries(self.task.queries[rows])
        collection = self.collections[arm.bits]
        collection.upsert(np.arange(len(corpus)), corpus, step=step)
        if arm.bits and not arm.protected:
            overlaps.append(self._overlap(arm, corpus, queries[:SAMPLE]))
        found = [
            self._call(arm, queries[at : at + CALL], rows[at : at + CALL], k, step) for at in range(0, len(rows), CALL)
        ]
        return np.concatenate(found)

    def _call(self, arm: Arm, queries: F32, rows: I64, k: int, step: int) -> I64:
        options: negmine.MineOptions = {"scoring": arm.scoring, "exact": True, "policy": arm.policy, "seed": step}
        if arm.policy == UNREMIX:
            options["pool"] = RESCORED
        if arm.protected:
            options["protection"] = PROTECTION
        found = self.collections[arm.bits].mine(
            queries, k, own_ids=self.task.own[rows], positives=self.task.positives[rows], **options
        )
        return np.asarray(found.ids)

    def _overlap(self, arm: Arm, corpus: F32, queries: F32) -> float:
        """Share of the nearest 64 by cosine that are among the nearest 64 by codes."""
        found = self.collections[arm.bits].mine(queries, NEIGHBOURS, scoring=arm.scoring, exact=True).ids
        true = np.argpartition(-(queries @ corpus.T), NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        return float(np.mean([len(np.intersect1d(*pair)) / NEIGHBOURS for pair in zip(found, true, strict=True)]))
