"""The next epoch's batches as a PyTorch `batch_sampler`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from negmine import _arrays
from negmine._exceptions import InvalidInput
from negmine.epoch.compose import Neighbours, Recipe, compose
from negmine.epoch.ranks import Alone, Ranks

_PAPER: Final = Recipe()
_ALONE: Final = Alone()


class BatchSampler:
    """Yields lists of dataset indices, for `torch.utils.data.DataLoader(dataset, batch_sampler=sampler)`.

        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            for batch in loader:
                ...
            sampler.update(miner.mine())

    Batches of all ranks are composed as one, of `batch_size * ranks.count` indices, and every rank takes its part of
    each: so ranks have equally many batches, share no index, and no label is in two parts of a step, also where the
    loss gathers negatives from all ranks. The plan follows from the seed, the epoch and the neighbours alone, and is
    the same on every rank that has the same ones, as a miner's `mine` gives them; nothing is exchanged. An anchor and
    its neighbours stand side by side, so a rank's part is hard by itself too.

    The number of batches may differ from epoch to epoch. A framework that shards samplers by itself (Lightning,
    accelerate) has to be told not to.

    Args:
        size: items n of the dataset. An item is a positive pair, or an anchor that the dataset pairs with its positive.
        batch_size: indices per rank in a batch.
        labels: int [n], -1 = none; no two items of a label share a batch. Each item is its own label unless set.
        seed: of the plan; the same on every rank.
        recipe: how batches are composed.
        ranks: of distributed training.

    Raises:
        InvalidInput: there are fewer labels than indices in a batch, so that none can ever be full.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        labels: Any = None,
        seed: int = 0,
        recipe: Recipe = _PAPER,
        ranks: Ranks = _ALONE,
    ) -> None:
        if batch_size < 1:
            raise InvalidInput(f"batch_size is {batch_size}; expected at least 1", field="batch_size")
        self.size = size
        self.batch_size = batch_size
        self.drop_last = recipe.drop_last
        self._labels = np.full(size, -1, np.int64) if labels is None else _arrays.to_ids(labels, "labels", size)
        lone = int((self._labels == -1).sum())
        names = len(np.unique(self._labels[self._labels != -1])) + lone
        if names < batch_size * ranks.count:
            raise InvalidInput(
                f"batch_size is {batch_size} on {ranks.count} ranks and the items have {names} labels; expected a "
                "label for each place of a batch",
                field="batch_size",
            )
        self._recipe = recipe
        self._ranks = ranks
        self._seed = seed
        self._epoch = 0
        self._neighbours: Neighbours | None = None
        self._plan: list[list[int]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Begins another epoch, with a plan of its own; the same number on every rank."""
        self._epoch = epoch
        self._plan = None

    def update(self, neighbours: Neighbours | None) -> None:
        """Composes from these neighbours [n, K] from now on, nearest first, -1 = none; None = random batches.

        Raises:
            InvalidInput: another shape, or an index outside the dataset.
        """
        if neighbours is not None:
            if neighbours.ndim != 2 or len(neighbours) != self.size:
                raise InvalidInput(
                    f"neighbours has shape {neighbours.shape}; expected [{self.size}, K]", field="neighbours"
                )
            if neighbours.size and not -1 <= neighbours.min() <= neighbours.max() < self.size:
                raise InvalidInput(
                    f"neighbours holds {neighbours.min()} to {neighbours.max()}; expected -1 to {self.size - 1}",
                    field="neighbours",
                )
        self._neighbours = neighbours
        self._plan = None

    @property
    def plan(self) -> list[list[int]]:
        """This epoch's batches, of all ranks together."""
        if self._plan is None:
            together = self.batch_size * self._ranks.count
            random = np.random.default_rng([self._seed, self._epoch])
            batches = compose(self._labels, self._neighbours, together, self._recipe, random)
            # The last batch may be short; its remainder is dropped, for a rank without a batch would hang the others.
            shares = (batch[: len(batch) // self._ranks.count * self._ranks.count] for batch in batches)
            self._plan = [batch for batch in shares if batch]
        return self._plan

    def __iter__(self) -> Iterator[list[int]]:
        """This rank's part of every batch."""
        for batch in self.plan:
            part = len(batch) // self._ranks.count
            yield batch[self._ranks.rank * part : (self._ranks.rank + 1) * part]

    def __len__(self) -> int:
        return len(self.plan)
