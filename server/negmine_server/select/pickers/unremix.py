"""unremix: importance interpolated from uncertainty, similarity and representativeness (UnReMix, 2022).

Read in the paper: h = λ₁ · uncertainty + λ₂ · similarity + λ₃ · representativeness, three terms that each see something
different; similarity is the inner product, uncertainty the gradient of the loss under a pseudo-label, and
representativeness the mean distance to the other negatives. The terms themselves are rebuilt, over the anchor's
candidates j, with s_j the score:

- p_j = softmax_j(s_j / τ), ŷ = argmax_j p_j, u_j = |p_j - 1[j = ŷ]|. The gradient's factor |anchor| / τ is the same for
  all candidates and cancels below. Where a trainer stored an item's uncertainty, that is u_j.
- r_j = mean over the other candidates of |z_j - z_k|, from stored vectors, or estimated from codes.

Each is scaled to [0, 1] per anchor, by its least and its greatest (0 everywhere where it is constant, to float32's last
digits), and the λ are divided by their sum. Weights are in proportion to h, with mean 1 over what is returned; all 1
where h is 0 everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from negmine_server.domain import F32, Bool
from negmine_server.errors import InvalidInput
from negmine_server.select.policy import Picks, Policy, Pool, checked, places, taken
from negmine_server.select.sampling import F64, mean_one

_CONSTANT = 1e-6  # a term's span, relative to its values, that float32 sums cannot tell from none


@dataclass(frozen=True, slots=True)
class Unremix(Policy):
    """The k most important, or the whole pool with weights.

    Raises:
        InvalidInput: a λ is negative, all are 0, tau is not above 0, or a value is not finite.
    """

    lambda_uncertainty: float
    lambda_similarity: float
    lambda_representativeness: float
    tau: float
    pool: int
    weights_only: bool = False

    name = "unremix"

    def __post_init__(self) -> None:
        names = ("lambda_uncertainty", "lambda_similarity", "lambda_representativeness")
        if not sum(checked(self.name, name, getattr(self, name), 0) for name in names):
            raise InvalidInput(
                f"policy.unremix: {', '.join(names)} are all 0; expected a sum above 0", field="policy.unremix"
            )
        checked(self.name, "tau", self.tau, 0, above=True)

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Unremix."""
        return cls(
            message.lambda_uncertainty,
            message.lambda_similarity,
            message.lambda_representativeness,
            message.tau,
            message.pool,
            message.weights_only,
        )

    @property
    def compares(self) -> bool:
        """Where representativeness counts."""
        return self.lambda_representativeness > 0

    @property
    def reads_uncertainties(self) -> bool:
        """Where uncertainty counts."""
        return self.lambda_uncertainty > 0

    def wanted(self, k: int) -> int:
        """The pool."""
        return self.pool

    def width(self, k: int) -> int:
        """k, or the pool where weights are all that is wanted."""
        return self.pool if self.weights_only else k

    def pick(self, pool: Pool, k: int) -> Picks:
        """The most important first, equals in rank order; with weights_only all, in rank order."""
        importance = self._importance(pool)
        if self.weights_only:
            chosen = places(pool, pool.ids.shape[1])
        else:
            order = np.argsort(np.where(pool.there, -importance, np.inf), axis=1, kind="stable")[:, :k]
            chosen = np.where(np.arange(order.shape[1]) < pool.counts[:, None], order, -1)
        return Picks(chosen, mean_one(taken(importance, chosen, 0), chosen))

    def _importance(self, pool: Pool) -> F64:
        """h [B, P] in [0, 1]; 0 where there is no candidate."""
        parts = np.array([self.lambda_uncertainty, self.lambda_similarity, self.lambda_representativeness], np.float64)
        parts /= parts.max()  # first, so that no sum overflows
        parts /= parts.sum()
        there = pool.there
        importance: F64 = parts[1] * _scaled(pool.scores, there)
        if self.reads_uncertainties:
            importance += parts[0] * _scaled(self._uncertainties(pool), there)
        if self.compares:
            assert pool.likeness is not None
            distances = np.empty(there.shape, np.float32)
            for part, block in pool.likeness.blocks():
                distances[part] = block.mean_distances(there[part])
            importance += parts[2] * _scaled(distances, there)
        return importance

    def _uncertainties(self, pool: Pool) -> F64:
        """As stored; else |p_j - 1[j = ŷ]|, where ŷ is the first place: candidates come by score."""
        scores = np.where(pool.there, pool.scores, 0).astype(np.float64)
        with np.errstate(over="ignore"):
            logits = (scores - scores[:, :1]) / self.tau
        probabilities: F64 = np.where(pool.there, np.exp(np.minimum(logits, 0)), 0)
        probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), 1)
        probabilities[:, 0] = probabilities[:, 1:].sum(axis=1)  # 1 - p, without its rounding
        if pool.uncertainties is None:
            return probabilities
        uncertainties: F64 = np.where(np.isnan(pool.uncertainties), probabilities, pool.uncertainties)
        return uncertainties


def _scaled(term: F32 | F64, there: Bool) -> F64:
    """A term [B, P] brought to [0, 1] per anchor; 0 where it is constant, and where there is no candidate."""
    values = term.astype(np.float64)
    low = np.where(there, values, np.inf).min(axis=1, keepdims=True)
    high = np.where(there, values, -np.inf).max(axis=1, keepdims=True)
    size = np.maximum(np.abs(low), np.abs(high))
    varies = there & (high - low > _CONSTANT * size)
    values = np.where(varies, values, 0) - np.where(varies, low, 0)
    scaled: F64 = values / np.where(varies, high - low, 1)
    return scaled
