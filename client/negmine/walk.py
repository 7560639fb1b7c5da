"""The denoising walk (RocketQA): from the hardest candidate on, keep what a slower judge does not find relevant.

    from negmine import walk

    found = collection.mine(queries, 50, policy=negmine.Top(), positives=positives)
    kept = walk.denoise(found, lambda rows, ids: cross_encoder(texts_of(rows), passages_of(ids)))

Read: the top 50, of which those that are not labelled positive and that a cross-encoder scores below 0.1 become
negatives, 4 for each positive. The judge is the trainer's. Here mining has left the labelled out already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from negmine import _arrays
from negmine._exceptions import InvalidInput
from negmine._results import Array, Negatives
from negmine._scalars import unsigned

I64 = NDArray[np.int64]
F32 = NDArray[np.float32]
Judge: TypeAlias = Callable[[I64, I64], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Denoised:
    """What the walk kept of B anchors, K at most each. Arrays are of the kind that the candidates were.

    Attributes:
        ids: int64 [B, K], hardest first; -1 beyond counts.
        scores: float32 [B, K], the candidates' scores; NaN beyond counts.
        judged: float32 [B, K], the judge's scores; NaN beyond counts.
        counts: int32 [B].
        starved: bool [B]: anchors for which fewer were kept than wanted.
        dropped: int32 [B]: candidates that the judge found relevant.
        pairs: pairs that were judged.
    """

    ids: Array
    scores: Array
    judged: Array
    counts: Array
    starved: Array
    dropped: Array
    pairs: int


def denoise(
    candidates: Negatives,
    judge: Judge,
    *,
    keep: int | Array = 4,
    threshold: float = 0.1,
    batch_pairs: int = 1024,
) -> Denoised:
    """Walks every anchor's candidates, hardest first, until `keep` of them are kept.

    No pair is judged twice, nor any that the walk does not come to.

    Args:
        candidates: of B anchors, as `Collection.mine` with `Top` returns them; 50 each in the paper.
        judge: called with rows int64 [n] (anchors, by their place in the batch) and ids int64 [n], n at most
            batch_pairs; returns n scores, numpy, torch or a list, higher = more relevant.
        keep: wanted for each anchor, at least 1; or int [B], such as 4 for each of its positives.
        threshold: what is kept has a judged score below it.
        batch_pairs: most pairs of one call of the judge.

    Raises:
        InvalidInput: a number is out of range, a candidate's score is NaN, or the judge returns another number of
            scores, or NaN for a pair, which the message names.
    """
    if np.isnan(threshold):
        raise InvalidInput(f"threshold is {threshold}; expected a number", field="threshold")
    if unsigned(batch_pairs, "batch_pairs") < 1:
        raise InvalidInput(f"batch_pairs is {batch_pairs}; expected at least 1", field="batch_pairs")
    ids, scores, counts = _ranked(candidates)
    wanted = _wanted(keep, len(ids))
    judged = np.full(ids.shape, np.nan, np.float32)
    ends = np.zeros(len(ids), np.int64)  # how far the walk has come
    missing = wanted
    ranks = np.arange(ids.shape[1])
    while True:
        begins, ends = ends, np.minimum(ends + missing, counts)
        rows, columns = np.nonzero((begins[:, None] <= ranks) & (ranks < ends[:, None]))
        if not len(rows):
            break
        judged[rows, columns] = _judged(judge, rows, ids[rows, columns], batch_pairs)
        missing = wanted - (judged < threshold).sum(1)
    return _result(ids, scores, judged, judged < threshold, wanted, _arrays.device_of(candidates.ids))


def _ranked(candidates: Negatives) -> tuple[I64, F32, I64]:
    """Ids and scores [B, k], hardest first and what is beyond counts last, and counts [B]."""
    ids = _arrays.to_matrix(candidates.ids, "candidates.ids")
    scores = candidates.scores.cpu().numpy() if _arrays.is_torch(candidates.scores) else candidates.scores
    if len(wrong := np.argwhere((ids >= 0) & np.isnan(scores))):
        row, column = wrong[0]
        raise InvalidInput(
            f"candidate {ids[row, column]} of anchor {row} has score NaN; expected a number", field="candidates"
        )
    order = np.argsort(np.where(ids >= 0, -scores, np.inf), axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1), np.take_along_axis(scores, order, 1), (ids >= 0).sum(1)


def _wanted(keep: int | Array, count: int) -> I64:
    """How many each anchor wants [B]."""
    if isinstance(keep, int | np.integer):
        wanted = np.full(count, unsigned(keep, "keep"), np.int64)
    else:
        wanted = _arrays.to_ids(keep, "keep", count)
    if count and wanted.min() < 1:
        raise InvalidInput(f"keep is {wanted.min()}; expected at least 1", field="keep")
    return wanted


def _judged(judge: Judge, rows: I64, ids: I64, batch_pairs: int) -> F32:
    """The judge's scores of pairs [n], asked for in batches."""
    scores = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), batch_pairs):
        part = slice(first, first + batch_pairs)
        scores[part] = _arrays.to_floats(judge(rows[part], ids[part]), "judge's scores", len(rows[part]))
    if len(wrong := np.flatnonzero(np.isnan(scores))):
        raise InvalidInput(f"the judge scored anchor {rows[wrong[0]]} with id {ids[wrong[0]]} NaN", field="judge")
    return scores


def _result(ids: I64, scores: F32, judged: F32, kept: NDArray[np.bool_], wanted: I64, device: Any | None) -> Denoised:
    """What was kept, moved to the front of its row in order."""
    counts = kept.sum(1)
    rows, columns = np.nonzero(kept)
    places = (np.cumsum(kept, axis=1) - 1)[rows, columns]

    def moved(held: NDArray[Any], beyond: float) -> Array:
        made = np.full((len(ids), int(wanted.max(initial=0))), beyond, held.dtype)
        made[rows, places] = held[rows, columns]
        return _arrays.to_device(made, device)

    seen = ~np.isnan(judged)
    return Denoised(
        ids=moved(ids, -1),
        scores=moved(scores, np.nan),
        judged=moved(judged, np.nan),
        counts=_arrays.to_device(counts.astype(np.int32), device),
        starved=_arrays.to_device(counts < wanted, device),
        dropped=_arrays.to_device((seen & ~kept).sum(1).astype(np.int32), device),
        pairs=int(seen.sum()),
    )
