"""Mined negatives as rows of a training set, in the output formats of sentence-transformers' mine_hard_negatives.

    triplet       anchor, positive, negative, scores [2]
    n-tuple       anchor, positive, negative_1 … negative_k, scores [1 + k]
    labeled-pair  anchor, document, label, score
    labeled-list  anchor, documents, labels, scores

All are ids. The score beside a positive is the one that margins are taken against: the lowest among the anchor's
positives; null where nothing asked for it. Without positives there is no `positive`, nor its score.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

import negmine
from negmine.cli.rows import I64, Ragged


class OutputFormat(StrEnum):
    """Names of the formats."""

    TRIPLET = "triplet"
    N_TUPLE = "n-tuple"
    LABELED_PAIR = "labeled-pair"
    LABELED_LIST = "labeled-list"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of an output look like.

    Attributes:
        format: which columns there are.
        k: negatives wanted per anchor.
        positives: whether anchors have positives.
        first_positive: only the first of an anchor's positives is written, instead of a row for each.
        drop_starved: anchors with fewer than k negatives are left out.
    """

    format: OutputFormat
    k: int
    positives: bool
    first_positive: bool = False
    drop_starved: bool = False

    @property
    def schema(self) -> Any:
        """The arrow schema."""
        ids, scores = pa.int64(), pa.list_(pa.float32())
        positive = [("positive", ids)] if self.positives else []
        match self.format:
            case OutputFormat.TRIPLET:
                columns = [("anchor", ids), *positive, ("negative", ids), ("scores", scores)]
            case OutputFormat.N_TUPLE:
                negatives = [(f"negative_{number}", ids) for number in range(1, self.k + 1)]
                columns = [("anchor", ids), *positive, *negatives, ("scores", scores)]
            case OutputFormat.LABELED_PAIR:
                columns = [("anchor", ids), ("document", ids), ("label", pa.int64()), ("score", pa.float32())]
            case OutputFormat.LABELED_LIST:
                lists = pa.list_(ids)
                columns = [("anchor", ids), ("documents", lists), ("labels", lists), ("scores", scores)]
        return pa.schema(columns)

    def batch(self, anchors: I64, positives: Ragged | None, mined: negmine.Negatives) -> Any:
        """The rows of B anchors, as an arrow record batch.

        Args:
            anchors: ids int64 [B].
            positives: of each anchor.
            mined: negatives of each anchor.
        """
        held = _Mined.of(anchors, positives, mined)
        if self.first_positive:
            held = held.first_positives()
        if self.drop_starved:
            held = held.without(mined.starved)
        match self.format:
            case OutputFormat.TRIPLET:
                columns = self._triplets(held)
            case OutputFormat.N_TUPLE:
                columns = self._tuples(held)
            case OutputFormat.LABELED_PAIR:
                documents, labels, scores, counts = held.labelled()
                columns = [np.repeat(held.anchors, counts), documents, labels, _nullable(scores)]
            case OutputFormat.LABELED_LIST:
                documents, labels, scores, counts = held.labelled()
                columns = [
                    held.anchors,
                    *(_lists(counts, values) for values in (documents, labels)),
                    _lists(counts, _nullable(scores)),
                ]
        return pa.record_batch(
            [pa.array(column, kind.type) for column, kind in zip(columns, self.schema, strict=True)], schema=self.schema
        )

    def _triplets(self, held: _Mined) -> list[Any]:
        pairs, positives = held.pairs()
        counts = held.counts[pairs]
        taken = np.repeat(pairs, counts)
        here = np.arange(held.ids.shape[1]) < counts[:, None]
        scores = held.scores[pairs][here]
        if not self.positives:
            return [held.anchors[taken], held.ids[pairs][here], _lists(np.ones(len(taken), int), scores)]
        both = np.stack([held.positive_scores[taken], scores], axis=1).reshape(-1)
        return [
            held.anchors[taken],
            _ids_or_null(np.repeat(positives, counts)),
            held.ids[pairs][here],
            _lists(np.full(len(taken), 2), _nullable(both)),
        ]

    def _tuples(self, held: _Mined) -> list[Any]:
        pairs, positives = held.pairs()
        negatives = held.ids[pairs]
        scores = held.scores[pairs]
        if self.positives:
            scores = np.concatenate([held.positive_scores[pairs][:, None], scores], axis=1)
        return [
            held.anchors[pairs],
            *([_ids_or_null(positives)] if self.positives else []),
            *(_ids_or_null(negatives[:, place]) for place in range(self.k)),
            _lists(np.full(len(pairs), scores.shape[1]), _nullable(scores.reshape(-1))),
        ]


@dataclass(frozen=True, slots=True, eq=False)
class _Mined:
    """B anchors with what belongs to each: positives, and k negatives with -1 and NaN beyond counts."""

    anchors: I64
    offsets: I64
    positives: I64
    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    counts: NDArray[np.int32]
    positive_scores: NDArray[np.float32]

    @classmethod
    def of(cls, anchors: I64, positives: Ragged | None, mined: negmine.Negatives) -> _Mined:
        offsets, values = positives or (np.zeros(len(anchors) + 1, np.int64), np.empty(0, np.int64))
        scores = mined.positive_scores
        none = np.full(len(anchors), np.nan, np.float32)
        return cls(anchors, offsets, values, mined.ids, mined.scores, mined.counts, none if scores is None else scores)

    def without(self, dropped: NDArray[np.bool_]) -> _Mined:
        """Without the anchors that are marked."""
        kept = ~dropped
        lengths = np.diff(self.offsets)
        return _Mined(
            self.anchors[kept],
            np.concatenate([[0], np.cumsum(lengths[kept])]),
            self.positives[np.repeat(kept, lengths)],
            self.ids[kept],
            self.scores[kept],
            self.counts[kept],
            self.positive_scores[kept],
        )

    def first_positives(self) -> _Mined:
        """With the first positive of each anchor alone."""
        lengths = np.diff(self.offsets)
        first = self.offsets[:-1][lengths > 0]
        offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, 1))])
        return _Mined(
            self.anchors, offsets, self.positives[first], self.ids, self.scores, self.counts, self.positive_scores
        )

    def pairs(self) -> tuple[I64, I64]:
        """Every anchor with each of its positives, once with -1 where it has none: anchors (as indices), positives."""
        lengths = np.diff(self.offsets)
        pairs = np.repeat(np.arange(len(self.anchors)), np.maximum(lengths, 1))
        positives = np.full(len(pairs), -1, np.int64)
        positives[np.repeat(lengths > 0, np.maximum(lengths, 1))] = self.positives
        return pairs, positives

    def labelled(self) -> tuple[I64, I64, NDArray[np.float32], I64]:
        """Positives (label 1), then negatives (label 0) of each anchor: ids, labels, scores, and counts [B]."""
        lengths = np.diff(self.offsets)
        width = int(lengths.max(initial=0))
        here = np.concatenate(
            [np.arange(width) < lengths[:, None], np.arange(self.ids.shape[1]) < self.counts[:, None]], axis=1
        )
        padded = np.full((len(self.anchors), width), -1, np.int64)
        padded[here[:, :width]] = self.positives
        documents = np.concatenate([padded, self.ids], axis=1)
        labels = np.broadcast_to((np.arange(here.shape[1]) < width).astype(np.int64), here.shape)
        scores: Any = np.concatenate([np.repeat(self.positive_scores[:, None], width, axis=1), self.scores], axis=1)
        counts = lengths + self.counts.astype(np.int64)
        return documents[here], labels[here], scores[here], counts


def _ids_or_null(ids: I64) -> Any:
    return pa.array(ids, pa.int64(), mask=ids < 0)


def _nullable(scores: NDArray[np.float32]) -> Any:
    return pa.array(scores, pa.float32(), mask=np.isnan(scores))


def _lists(counts: NDArray[Any], values: Any) -> Any:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values))
