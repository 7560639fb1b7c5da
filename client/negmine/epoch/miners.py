"""Where an epoch's neighbours come from: the embeddings made during it, the dataset encoded anew, or nowhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from negmine import _arrays
from negmine._collection import Collection
from negmine._exceptions import InvalidInput
from negmine._options import MineArgs, MineOptions
from negmine.epoch.compose import Neighbours
from negmine.epoch.ranks import Alone, Ranks, together

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]

Encode: TypeAlias = Callable[[I64], Any]

NEIGHBOURS: Final = 128  # per anchor, the paper's
_BLOCK_ANCHORS: Final = 1024  # per mine call
_FILLED_IN: Final = {"own_ids", "positives", "groups"}
_ALONE: Final = Alone()


class Miner(ABC):
    """Sees an epoch's embeddings as they are made, and gives each item's nearest negatives at its end.

    with Incremental(collection, len(dataset), labels=labels) as miner:
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            for rows, ... in loader:
                ...
                miner.add(rows, anchors, positives, step=step)
            sampler.update(miner.mine())
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(flush=error is None)

    @abstractmethod
    def add(self, rows: Any, anchors: Any, items: Any = None, *, step: int) -> None:
        """Takes a step's embeddings.

        Args:
            rows: int [B], indices of the dataset, unique.
            anchors: embeddings [B, d] of the items as anchors, numpy or torch.
            items: embeddings [B, d] of the items as negatives of others, where a dataset has queries and references;
                the anchors' unless set.
            step: model step that made them.
        """

    @abstractmethod
    def mine(self) -> Neighbours | None:
        """Neighbours int32 [n, K] of every item, nearest first, -1 = none; or None for random batches.

        With several ranks, every rank calls it at the same point and gets the same.
        """

    @abstractmethod
    def close(self, *, flush: bool = True) -> None:
        """Ends what runs in the background, once all that was added is in the collection; or at once."""


class Random(Miner):
    """No neighbours: random batches. With the loss on `hardest_in_batch` alone, that is batch-hard."""

    def add(self, rows: Any, anchors: Any, items: Any = None, *, step: int) -> None:
        """Nothing is kept."""

    def mine(self) -> None:
        """Batches stay random."""

    def close(self, *, flush: bool = True) -> None:
        """Nothing runs."""


class Incremental(Miner):
    """Neighbours among the embeddings that were made during the epoch: a bit stale, and nothing is encoded twice.

    With codes this is the paper's method (`scoring` "symmetric" or "asymmetric"), with "float" its exact incremental
    baseline. The collection is the loop's own: item i of the dataset has id i and its label as group. Items go in as
    they are made; anchors are kept in memory, 4 d bytes each, until `mine`. A row that no step has shown in an epoch
    keeps the neighbours that it had.

    With several ranks, each adds what it trains on. In `mine` every rank waits until all items of all ranks are in,
    mines its own anchors, and gets the other ranks' answers, so that all hold the same neighbours. What fails on one
    rank is raised on all.

    Args:
        collection: to keep items in.
        size: items n of the dataset.
        labels: int [n], -1 = none: items of the anchor's label are never neighbours.
        positives: int [n] or [n, p] padded with -1: ids that are never neighbours, and whose scores count as the
            positive's where `options` have a protection.
        neighbours: K, most per anchor.
        options: of every mine call: scoring, exact, protection, … `own_ids`, `positives` and `groups` are filled in.
        ranks: of distributed training.
    """

    def __init__(
        self,
        collection: Collection,
        size: int,
        *,
        labels: Any = None,
        positives: Any = None,
        neighbours: int = NEIGHBOURS,
        options: MineOptions | None = None,
        ranks: Ranks = _ALONE,
    ) -> None:
        self._options: MineOptions = {"priority": "bulk", **(options or {})}
        if taken := sorted(_FILLED_IN & self._options.keys()):
            raise InvalidInput(f"options hold {', '.join(taken)}, which the loop fills in", field="options")
        self._collection = collection
        self._labels = None if labels is None else _arrays.to_ids(labels, "labels", size)
        self._positives = None if positives is None else _arrays.to_matrix(positives, "positives")
        if self._positives is not None and len(self._positives) != size:
            raise InvalidInput(f"positives has shape {self._positives.shape}; expected [{size}, p]", field="positives")
        self._ranks = ranks
        self._writer = collection.writer()
        self._table: Neighbours = np.full((size, neighbours), -1, np.int32)
        self._rows: list[I64] = []
        self._anchors: list[F32] = []

    def add(self, rows: Any, anchors: Any, items: Any = None, *, step: int) -> None:
        """As `Miner.add`; returns at once while the writer's window has room.

        Raises:
            InvalidInput: the arrays do not fit, or a row is outside the dataset.
            NegmineError: an earlier upsert failed for good.
        """
        held = _arrays.to_ids(rows, "rows")
        if held.size and not 0 <= held.min() <= held.max() < len(self._table):
            raise InvalidInput(
                f"rows hold {held.min()} to {held.max()}; expected 0 to {len(self._table) - 1}", field="rows"
            )
        if len(anchors.shape) != 2 or len(anchors) != len(held):
            raise InvalidInput(f"anchors has shape {tuple(anchors.shape)}; expected [{len(held)}, d]", field="anchors")
        kept = _arrays.to_float32(anchors, "anchors", anchors.shape[1]).copy()  # the caller may change its own
        groups = None if self._labels is None else self._labels[held]
        self._writer.send(held, anchors if items is None else items, step=step, groups=groups)
        self._rows.append(held)
        self._anchors.append(kept)

    def mine(self) -> Neighbours:
        """As `Miner.mine`, for the rows added since the last call.

        Raises:
            NegmineError: of the server; what was added is kept, and calling again mines it.
            InvalidInput: the collection holds ids that are not the dataset's.
            Aborted: another rank failed.
        """
        together(self._ranks, self._writer.flush)
        table = self._table.copy()
        for rows, found in together(self._ranks, self._mine_own):
            table[rows] = found
        self._table = table
        self._rows, self._anchors = [], []
        return table

    def close(self, *, flush: bool = True) -> None:
        """As `Miner.close`."""
        if flush:
            self._writer.close()
        else:
            self._writer.cancel()

    def _mine_own(self) -> tuple[I64, Neighbours]:
        """This rank's rows [m] and their neighbours [m, K]."""
        if not self._rows:
            return np.empty(0, np.int64), self._table[:0]
        rows, anchors = np.concatenate(self._rows), np.concatenate(self._anchors)
        latest = len(rows) - 1 - np.unique(rows[::-1], return_index=True)[1]  # a row may have come in several steps
        rows, anchors = rows[latest], anchors[latest]
        found = np.empty((len(rows), self._table.shape[1]), np.int32)
        start = 0
        for negatives in self._collection.mine_stream(self._calls(rows, anchors)):
            if negatives.ids.size and negatives.ids.max() >= len(self._table):
                raise InvalidInput(
                    f"collection {self._collection.name!r} holds id {negatives.ids.max()}, and the dataset "
                    f"{len(self._table)} items; expected a collection of the loop's own",
                    field="collection",
                )
            found[start : start + len(negatives.ids)] = negatives.ids
            start += len(negatives.ids)
        return rows, found

    def _calls(self, rows: I64, anchors: F32) -> Iterator[MineArgs]:
        for start in range(0, len(rows), _BLOCK_ANCHORS):
            own = rows[start : start + _BLOCK_ANCHORS]
            call: MineArgs = {
                **self._options,
                "anchors": anchors[start : start + _BLOCK_ANCHORS],
                "k": self._table.shape[1],
                "own_ids": own,
            }
            if self._labels is not None:
                call["groups"] = self._labels[own]
            if self._positives is not None:
                call["positives"] = self._positives[own]
            yield call


class Full(Miner):
    """Neighbours among embeddings of the whole dataset, all encoded anew at the epoch's end, compared exactly.

    Needs a collection that keeps vectors. Each rank encodes and mines its share of the dataset.

    Args:
        encode: embeddings [m, d] of rows int64 [m] by the model of now, or a pair of them: as anchors, and as items.
        block_rows: rows per call of `encode`.
        collection, size, labels, positives, neighbours, options, ranks: as of `Incremental`; `scoring` is "float".
    """

    def __init__(
        self,
        collection: Collection,
        size: int,
        encode: Encode,
        *,
        labels: Any = None,
        positives: Any = None,
        neighbours: int = NEIGHBOURS,
        options: MineOptions | None = None,
        ranks: Ranks = _ALONE,
        block_rows: int = _BLOCK_ANCHORS,
    ) -> None:
        exact: MineOptions = {**(options or {}), "scoring": "float"}
        self._inner = Incremental(
            collection, size, labels=labels, positives=positives, neighbours=neighbours, options=exact, ranks=ranks
        )
        self._own = np.arange(ranks.rank, size, ranks.count)
        self._encode = encode
        self._ranks = ranks
        self._block_rows = block_rows
        self._step = 0

    def add(self, rows: Any, anchors: Any, items: Any = None, *, step: int) -> None:
        """Only the step is kept: it is the version of what `mine` puts in."""
        self._step = max(self._step, step)

    def mine(self) -> Neighbours:
        """Encodes the dataset, then as `Incremental.mine`."""
        together(self._ranks, self._encode_own)
        return self._inner.mine()

    def close(self, *, flush: bool = True) -> None:
        """As `Miner.close`."""
        self._inner.close(flush=flush)

    def _encode_own(self) -> None:
        for start in range(0, len(self._own), self._block_rows):
            rows = self._own[start : start + self._block_rows]
            made = self._encode(rows)
            anchors, items = made if isinstance(made, tuple) else (made, None)
            self._inner.add(rows, anchors, items, step=self._step)
