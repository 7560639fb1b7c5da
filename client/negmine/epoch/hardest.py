"""The hardest positive in a class, and the hardest negative in a batch."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from negmine import _arrays

I64 = NDArray[np.int64]

_BLOCK_ROWS: Final = 1024  # rows compared at once with their class: bounds the temporary arrays


def hardest_positives(embeddings: Any, labels: Any) -> I64:
    """For each item the least similar one of its label, by inner product: its positive, where pairs are not given.

    Args:
        embeddings: [n, d]; of unit length where cosine is meant.
        labels: int [n], -1 = none.

    Returns:
        int64 [n] indices; -1 where an item has no label, or nobody to share it with.
    """
    held = _arrays.to_float32(embeddings, "embeddings", embeddings.shape[1])
    names = _arrays.to_ids(labels, "labels", len(held))
    found = np.full(len(held), -1, np.int64)
    order = np.argsort(names, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(names[order])) + 1):
        if len(members) < 2 or names[members[0]] == -1:
            continue
        for start in range(0, len(members), _BLOCK_ROWS):
            rows = members[start : start + _BLOCK_ROWS]
            scores = held[rows] @ held[members].T
            scores[np.arange(len(rows)), start + np.arange(len(rows))] = np.inf  # not the item itself
            found[rows] = members[scores.argmin(axis=1)]
    return found


def hardest_in_batch(anchors: Any, items: Any, labels: Any) -> Any:
    """For each anchor of a batch its most similar item of another label, by inner product (batch-hard).

    Args:
        anchors: [B, d], numpy or torch.
        items: [B, d], of the same kind; item i is the positive of anchor i.
        labels: integers [B], of the same kind; the dataset's indices where each item is its own label.

    Returns:
        Integers [B], columns of the batch, as an array or tensor like the anchors; -1 where all are of one label.
    """
    if _arrays.is_torch(anchors):
        anchors, items = anchors.detach(), items.detach()
    scores = anchors @ items.T
    same = labels[:, None] == labels[None, :]
    scores[same] = -np.inf
    columns = scores.argmax(1)
    columns[same.all(1)] = -1
    return columns
