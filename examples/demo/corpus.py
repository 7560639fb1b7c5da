"""A corpus ready to be mined: ids, unit vectors, texts, groups, and what counts as a positive of what.

A *row* is a position in the corpus (0 … n-1), an *id* is what the server knows the item by. Ids ascend with rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
F32 = NDArray[np.float32]

NO_ID = -1  # there is no such item
NO_LABEL = -1  # the row has no group
NO_PARENT = -1  # the row has no direct hypernym


class CorpusError(Exception):
    """A corpus cannot be had: its name, its files or its packages are missing or do not fit together."""


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """One list of int64 a row: row r's values are values[offsets[r] : offsets[r + 1]]."""

    offsets: I64  # [n + 1], ascending from 0
    values: I64  # [offsets[n]]

    @staticmethod
    def from_pairs(rows: int, left: I64, right: I64) -> Ragged:
        """Collect `right` by `left` (both [m], rows: 0 … rows-1); each list ascends and holds a value once."""
        keys, values = np.divmod(np.unique(left * rows + right), rows)
        counts = np.bincount(keys, minlength=rows)
        return Ragged(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), values.astype(np.int64))

    @staticmethod
    def empty(rows: int) -> Ragged:
        return Ragged(np.zeros(rows + 1, np.int64), np.zeros(0, np.int64))

    def __getitem__(self, row: int) -> list[int]:
        values: list[int] = self.values[self.offsets[row] : self.offsets[row + 1]].tolist()
        return values


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """n items of dimension d, with their texts and relations. Relations hold rows, not ids."""

    name: str
    ids: I64  # [n], >= 0, ascending
    vectors: F32  # [n, d], unit length
    texts: tuple[str, ...]  # [n], what was encoded
    titles: tuple[str, ...]  # [n], short, to show to a person
    labels: I64  # [n], the group, NO_LABEL = none
    label_names: tuple[str, ...]  # by label
    parents: I64  # [n], row of the direct hypernym, NO_PARENT = none
    synonyms: Ragged  # rows that share a lemma
    broader: Ragged  # direct hypernyms; an adjective satellite's head
    narrower: Ragged  # direct hyponyms; an adjective head's satellites
    shown: I64  # rows worth showing to a person as anchors
    notice: str  # whose data it is, in one line

    def __post_init__(self) -> None:
        rows = len(self.ids)
        sizes = {
            "vectors": len(self.vectors),
            "texts": len(self.texts),
            "titles": len(self.titles),
            "labels": len(self.labels),
            "parents": len(self.parents),
        }
        for field, size in sizes.items():
            if size != rows:
                raise CorpusError(f"corpus {self.name}: {rows} ids, but {size} {field}")
        if rows and (self.ids[0] < 0 or bool(np.any(np.diff(self.ids) <= 0))):
            raise CorpusError(f"corpus {self.name}: ids must be >= 0 and ascend, each once")

    @property
    def rows(self) -> int:
        return len(self.ids)

    @property
    def dimension(self) -> int:
        return int(self.vectors.shape[1])

    def rows_of(self, ids: I64) -> I64:
        """Rows of `ids` (any shape). Raises CorpusError for an id that the corpus does not hold."""
        rows = np.minimum(np.searchsorted(self.ids, ids), self.rows - 1).astype(np.int64)
        unknown = self.ids[rows] != ids
        if unknown.any():
            raise CorpusError(f"corpus {self.name} holds no item with id {int(np.asarray(ids)[unknown].flat[0])}")
        return rows

    def ancestors(self, row: int) -> set[int]:
        """Every row on the way up from `row`, itself left out. WordNet's verbs hold cycles, so rows are marked."""
        found: set[int] = set()
        ahead = self.broader[row]
        while ahead:
            above = ahead.pop()
            if above not in found:
                found.add(above)
                ahead.extend(self.broader[above])
        found.discard(row)
        return found

    def positives(self, anchor_rows: I64) -> tuple[I64, I64]:
        """Positives of B anchors: synonyms, the whole hypernym chain, and direct hyponyms; never the anchor.

        Returns (offsets int64 [B + 1], ids int64 [offsets[B]]); anchor i's ids are ids[offsets[i] : offsets[i + 1]],
        ascending and each once.
        """
        lists: list[list[int]] = []
        for row in anchor_rows.tolist():
            found = self.ancestors(row).union(self.synonyms[row], self.narrower[row])
            found.discard(row)
            lists.append(sorted(found))
        offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
        flat = np.fromiter((row for found in lists for row in found), np.int64, count=int(offsets[-1]))
        return offsets, self.ids[flat]

    def nearest_positives(self, anchor_rows: I64) -> tuple[I64, F32]:
        """The positive nearest to each of B anchors: (its id int64 [B], NO_ID = none; cosine float32 [B], NaN = none).

        This is the positive's score that a margin is taken against. The lowest of all positives' would be that of
        `entity`, at the top of every noun's chain, near 0: it would leave nothing but unrelated items.
        """
        offsets, ids = self.positives(anchor_rows)
        nearest = np.full(len(anchor_rows), NO_ID, np.int64)
        scores = np.full(len(anchor_rows), np.nan, np.float32)
        for at, row in enumerate(anchor_rows.tolist()):
            own = ids[offsets[at] : offsets[at + 1]]
            if len(own):
                cosines = self.vectors[self.rows_of(own)] @ self.vectors[row]
                best = int(np.argmax(cosines))
                nearest[at], scores[at] = own[best], cosines[best]
        return nearest, scores


def unit(vectors: NDArray[np.generic]) -> F32:
    """`vectors` [n, d] as float32 of unit length. Raises CorpusError for a row of zeros."""
    floats = vectors.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", floats, floats))
    if not lengths.all():
        raise CorpusError(f"row {int(np.argmin(lengths))} is a zero vector: it has no direction")
    floats /= lengths[:, None]
    return floats
