"""Ids of positives, in any of the forms that callers have them in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from negmine import _arrays
from negmine._arrays import I64
from negmine._exceptions import InvalidInput
from negmine.v1 import types_pb2


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Ids of B anchors: anchor i owns values[offsets[i]:offsets[i + 1]]."""

    offsets: I64
    values: I64

    def __getitem__(self, rows: slice) -> Ragged:
        offsets = self.offsets[rows.start : rows.stop + 1]
        return Ragged(offsets - offsets[0], self.values[offsets[0] : offsets[-1]])

    def message(self) -> types_pb2.RaggedIds:
        return types_pb2.RaggedIds(offsets=_arrays.tensor(self.offsets), values=_arrays.tensor(self.values))


def ragged(positives: Any, count: int) -> Ragged:
    """Positives in any of the forms of `MineOptions`.

    Raises:
        InvalidInput: the lengths do not fit the anchors, or the offsets do not add up.
    """
    if isinstance(positives, tuple) and len(positives) == 2 and all(map(_arrays.is_array, positives)):
        offsets = _arrays.to_ids(positives[0], "positives.offsets", count + 1)
        values = _arrays.to_ids(positives[1], "positives.values")
        if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(values):
            raise InvalidInput(
                f"positives.offsets run from {offsets[0]} to {offsets[-1]} over {len(values)} values; expected from 0, "
                "never falling, to the number of values",
                field="positives",
            )
        return Ragged(offsets, values)
    if not _arrays.is_array(positives):
        if len(positives) != count:
            raise InvalidInput(f"positives has {len(positives)} lists for {count} anchors", field="positives")
        return Ragged(*_arrays.flatten(positives, "positives"))
    padded = _arrays.to_matrix(positives, "positives")
    if padded.ndim == 1:
        padded = padded[:, None]
    if padded.ndim != 2 or len(padded) != count:
        raise InvalidInput(
            f"positives has shape {padded.shape}; expected [{count}, p] padded with -1", field="positives"
        )
    held = padded != -1
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(held.sum(axis=1), out=offsets[1:])
    return Ragged(offsets, padded[held])
