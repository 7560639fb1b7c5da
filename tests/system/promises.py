"""What a server was sent, what it promised by an ack, and the comparison of what it holds with both.

What an item holds follows from its id and step, so that a row read back tells which upsert wrote it.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, field

import negmine
import numpy as np
from numpy.typing import NDArray

DIMENSION = 16
BITS = 128

I64 = NDArray[np.int64]


def mixed(ids: I64, step: int, salt: int) -> NDArray[np.uint64]:
    """Well-mixed bits of (id, step): splitmix64."""
    z = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64((step * 1_000_003 + salt) % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def embeddings(ids: I64, step: int) -> NDArray[np.float32]:
    columns = [mixed(ids, step, salt).astype(np.float64) / 2.0**63 - 1 for salt in range(DIMENSION)]
    return np.stack(columns, axis=1).astype(np.float32)


def groups(ids: I64, step: int) -> I64:
    return (mixed(ids, step, 101) % np.uint64(50)).astype(np.int64) - 1  # -1 = none


def tags(ids: I64, step: int) -> NDArray[np.uint64]:
    return mixed(ids, step, 102)


@dataclass(frozen=True)
class Operation:
    """An upsert or a delete of some ids at a step."""

    step: int
    ids: I64
    deletes: bool


@dataclass
class Promises:
    """What was sent, and what of it was acked; shared by the writers, the checker and the killer."""

    sent: dict[int, dict[int, bool]] = field(default_factory=lambda: defaultdict(dict))  # id → step → it deletes
    acked: dict[int, tuple[int, bool]] = field(default_factory=dict)  # id → highest acked step, and whether it deletes
    acks: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, operation: Operation) -> None:
        """Before the bytes leave."""
        with self.lock:
            for id_ in operation.ids.tolist():
                self.sent[id_][operation.step] = operation.deletes

    def ack(self, operation: Operation) -> None:
        with self.lock:
            self.acks += 1
            for id_ in operation.ids.tolist():
                if operation.step >= self.acked.get(id_, (-1, False))[0]:
                    self.acked[id_] = (operation.step, operation.deletes)

    def now_acked(self) -> dict[int, tuple[int, bool]]:
        with self.lock:
            return dict(self.acked)

    def now_sent(self) -> dict[int, dict[int, bool]]:
        with self.lock:
            return {id_: dict(steps) for id_, steps in self.sent.items()}


def check(collection: negmine.Collection, promises: Promises, ids: I64) -> int:
    """Compares a collection that may be written to meanwhile with what was promised; returns the rows found.

    What had been acked before the read must be there, in that version or a newer one that was sent; what is there must
    have been sent; what it holds must be what that upsert held.
    """
    before = promises.now_acked()
    found = collection.fetch(ids, codes=True)
    after = promises.now_sent()
    for index, id_ in enumerate(ids.tolist()):
        step, deleted = before.get(id_, (-1, True))
        sent = after.get(id_, {})
        if found.found[index]:
            have = int(found.steps[index])
            assert sent.get(have) is False, f"item {id_} has step {have}, which no upsert of it had: {sorted(sent)}"
            assert have >= step, f"item {id_} is at step {have}, older than the acked {step}"
            assert not (deleted and have <= step), f"item {id_} of step {have} outlived its acked delete at {step}"
        else:
            later = any(deletes and at > step for at, deletes in sent.items())
            assert deleted or later, f"item {id_}, acked at step {step}, is gone"
    compare_contents(collection, found, ids)
    return int(found.found.sum())


def compare_contents(collection: negmine.Collection, found: negmine.Fetched, ids: I64) -> None:
    """Groups, tags and codes are those of the upsert that the row's step names."""
    encoder = collection.encoder()
    assert found.codes is not None
    for step in np.unique(found.steps[found.found]).tolist():
        rows = np.flatnonzero(found.found & (found.steps == step))
        codes = encoder.encode(embeddings(ids[rows], step))
        np.testing.assert_array_equal(found.groups[rows], groups(ids[rows], step))
        np.testing.assert_array_equal(found.tags[rows], tags(ids[rows], step))
        np.testing.assert_array_equal(found.codes.words[rows], codes.words)
        np.testing.assert_allclose(found.codes.corrections[rows], codes.corrections, rtol=1e-6)  # sums of another batch
