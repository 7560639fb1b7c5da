"""Sampling without replacement by perturbed log weights (Gumbel top-k), and the weights that undo it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Bool
from negmine_server.select.policy import Picks, taken

F64 = NDArray[np.float64]

_LOWEST = -1e300  # a log weight so low that no other comes near; finite, so that differences are numbers


def gumbel(keys: U64) -> F64:
    """A standard Gumbel number per random key."""
    uniform = ((keys >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # inside (0, 1) to the last bit
    numbers: F64 = -np.log(-np.log(uniform))
    return numbers


def sample(log_weights: F64, among: Bool, keys: U64, k: int) -> Picks:
    """At most k of the places marked, without replacement and in proportion to their weights.

    The k largest of log weight + Gumbel number are what drawing one after the other gives (Yellott, 1977; Vieira,
    2014).

    Weights undo the drawing: with the (k + 1)-th largest as threshold t, place j is in with the probability
    q_j = 1 - exp(-exp(log weight_j - t)), so that weights in proportion to 1 / q_j estimate means over all that could
    be drawn, each counting once (Kool, van Hoof, Welling, 2019). Where all are drawn, weights are 1.

    Args:
        log_weights: [B, P], up to a number per anchor; -inf counts as very low. Read where marked.
        among: [B, P], what may be drawn.
        keys: [B, P], random.
        k: at most so many.

    Returns:
        Places in rank order; weights with mean 1 over an anchor's picks.
    """
    marked = np.where(among, np.maximum(log_weights, _LOWEST), -np.inf)
    top = marked.max(axis=1, keepdims=True, initial=_LOWEST)
    marked -= top
    perturbed = marked + gumbel(keys)
    places, threshold = _largest(perturbed, k)
    gap: F64 = taken(marked, places, 0) - threshold[:, None]
    with np.errstate(over="ignore"):
        shares = -np.expm1(-np.exp(gap))
    return Picks(places, mean_one(1 / shares, places))


def _largest(values: F64, k: int) -> tuple[I64, F64]:
    """The places [B, k] of the k largest, in rank order, and the next largest value [B]; -1, -inf where there is none.

    Values of -inf are not there.
    """
    rows, width = values.shape
    if width < k + 1:
        values = np.concatenate([values, np.full((rows, k + 1 - width), -np.inf)], axis=1)
    best = np.argpartition(-values, k, axis=1)[:, : k + 1]
    threshold = np.take_along_axis(values, best[:, k:], axis=1)[:, 0]
    best = best[:, :k]
    best = np.where(np.isneginf(np.take_along_axis(values, best, axis=1)), values.shape[1], best)
    best = np.sort(best, axis=1)
    return np.where(best < values.shape[1], best, -1), threshold


def mean_one(weights: F64, places: I64) -> F32:
    """Weights [B, k], not negative, with mean 1 over an anchor's picks and 0 beyond; all 1 where they sum to 0."""
    there = places >= 0
    weights = np.where(there, weights, 0)
    totals = weights.sum(axis=1, keepdims=True)
    weights = np.where(totals > 0, weights, there)
    counts = there.sum(axis=1, keepdims=True)
    scaled: F32 = (weights * (counts / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300))).astype(np.float32)
    return scaled
