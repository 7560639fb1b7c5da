"""An epoch's batches from each item's nearest negatives: the greedy composition of Sample4Geo, and of the LSH paper.

Read, with two differences. There, item 0 is never a neighbour, which is a slip. And there, a popped anchor that is used
already counts as a miss, so that an epoch ends while some items were never tried; here it is only passed over.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from negmine._exceptions import InvalidInput

I64 = NDArray[np.int64]
Neighbours: TypeAlias = NDArray[np.int32]  # [n, K] indices of the dataset, nearest first; -1 = none

_BLOCK_ROWS: Final = 8192  # rows picked at once: bounds the temporary arrays


@dataclass(frozen=True, slots=True)
class Recipe:
    """How batches are composed; the defaults are the paper's.

    Attributes:
        nearest: picked per anchor, the nearest of its neighbours.
        random: picked per anchor beside them, at random among the next ranks (dynamic similarity sampling).
        pool: neighbours per anchor that are picked from.
        misses_max: anchors that do not fit a batch, one after another, until the epoch ends.
        drop_last: drop the last batch where it is not full.
    """

    nearest: int = 32
    random: int = 32
    pool: int = 128
    misses_max: int = 1024
    drop_last: bool = True

    def __post_init__(self) -> None:
        if min(self.nearest, self.random) < 0 or self.nearest + self.random > self.pool:
            raise InvalidInput(
                f"recipe picks {self.nearest} nearest and {self.random} random of {self.pool}; expected at least 0 of "
                "each, and no more than the pool in all",
                field="recipe",
            )
        if self.misses_max < 1:
            raise InvalidInput(f"recipe.misses_max is {self.misses_max}; expected at least 1", field="recipe")


def pick(neighbours: Neighbours, recipe: Recipe, random: np.random.Generator) -> Neighbours:
    """The neighbours [n, nearest + random] that an anchor brings along, nearest first; -1 beyond those that there are.

    Where an anchor has few neighbours, the random ones are drawn among those that it has.
    """
    table = neighbours[:, : recipe.pool]
    picked = np.full((len(table), recipe.nearest + recipe.random), -1, np.int32)
    picked[:, : recipe.nearest][:, : table.shape[1]] = table[:, : recipe.nearest]
    for start in range(0, len(table), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        rest = random.permuted(table[block, recipe.nearest :], axis=1)
        starved = np.flatnonzero((rest < 0).any(axis=1))
        held_first = np.argsort(rest[starved] < 0, axis=1, kind="stable")
        rest[starved] = np.take_along_axis(rest[starved], held_first, axis=1)
        chosen = rest[:, : recipe.random]
        picked[block, recipe.nearest : recipe.nearest + chosen.shape[1]] = chosen
    return picked


def dense(labels: I64) -> tuple[list[int], int]:
    """Labels [n] renamed to 0, 1, …, and how many there are; every -1 (no label) becomes a label of its own."""
    names, renamed = np.unique(labels, return_inverse=True)
    alone = labels == -1
    renamed = np.where(alone, len(names) + np.cumsum(alone), renamed)
    _, renamed = np.unique(renamed, return_inverse=True)
    return renamed.tolist(), int(renamed.max(initial=-1)) + 1


def compose(
    labels: I64, neighbours: Neighbours | None, batch_size: int, recipe: Recipe, random: np.random.Generator
) -> list[list[int]]:
    """Batches of indices: none twice, and no two of a label in a batch.

    A random anchor is popped and joins the batch, followed by its picked neighbours that are not in use and whose label
    the batch does not hold; then the next anchor, until the batch is full. An anchor whose label the batch holds is put
    back and tried again later; after `misses_max` of these in a row the epoch ends.

    Args:
        labels: int64 [n], -1 = none.
        neighbours: int32 [n, K] indices of the dataset, nearest first, -1 = none; None = random batches.
        batch_size: items in a batch.
        recipe: how.
        random: of every choice.
    """
    count = len(labels)
    label_of, names = dense(labels)
    picked = np.empty((count, 0), np.int32) if neighbours is None else pick(neighbours, recipe, random)
    pool = deque(random.permutation(count).tolist())
    used = bytearray(count) + b"\1"  # the last one is where -1 points: a neighbour that is none counts as used
    taken_by = [-1] * names  # the last batch that holds the label
    batches: list[list[int]] = []
    batch: list[int] = []
    misses = 0
    while pool and misses < recipe.misses_max:
        anchor = pool.popleft()
        if used[anchor]:
            continue
        if taken_by[label_of[anchor]] == len(batches):
            pool.append(anchor)
            misses += 1
            continue
        misses = 0
        for row in (anchor, *picked[anchor].tolist()):
            if used[row] or taken_by[label_of[row]] == len(batches):
                continue
            used[row] = 1
            taken_by[label_of[row]] = len(batches)
            batch.append(row)
            if len(batch) == batch_size:
                batches.append(batch)
                batch = []
                break
    if batch and not recipe.drop_last:
        batches.append(batch)
    return batches
