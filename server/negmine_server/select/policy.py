"""What a selection policy is: k picks from an anchor's ranked, filtered candidates.

One policy is one file in `pickers/` and one message in policy.proto, of the same name; `registry` finds it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from negmine_server.domain import F32, I32, I64, U64
from negmine_server.errors import InvalidInput, TooLarge
from negmine_server.hashing import mix
from negmine_server.select.likeness import Likeness

POOL_FACTOR = 8  # candidates considered for each that is wanted, where a request does not say
POOL_MIN = 128
COMPARED_MAX = 4096  # candidates that are compared with each other: about a second for four anchors


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What the filters left, per anchor, by score descending and id ascending; padded beyond counts."""

    ids: I64  # [B, P]
    scores: F32  # [B, P], the final scores; -inf beyond counts
    counts: I32  # [B]
    positive_scores: F32  # [B], NaN = none
    anchor_keys: U64  # [B], from the anchor's content: never its place in the batch
    seeds: U64  # [B], of the anchors' requests
    dimension: int  # of the embeddings
    likeness: Likeness | None = None  # of the candidates, where the policy compares them
    uncertainties: F32 | None = None  # [B, P] as stored, NaN = none; where the policy reads them

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which places [B, P] hold a candidate."""
        there: NDArray[np.bool_] = np.arange(self.ids.shape[1]) < self.counts[:, None]
        return there


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """What a policy took, in the order of the reply.

    w is k, but for policies that return their whole pool. Weights are importance weights where the method defines
    them, with mean 1 over an anchor's picks, 0 beyond them.
    """

    places: I64  # [B, w] in the pool, -1 = none
    weights: F32 | None = None  # [B, w]


class Policy(ABC):
    """One way of picking: a frozen, hashable dataclass; its parameters are checked when it is made.

    Attributes:
        name: of its message in policy.proto, in metrics and features.
    """

    name: ClassVar[str]

    @property
    def compares(self) -> bool:
        """Whether it reads `Pool.likeness`."""
        return False

    @property
    def reads_uncertainties(self) -> bool:
        """Whether it reads `Pool.uncertainties`."""
        return False

    @property
    def needs_positive(self) -> bool:
        """Whether an anchor without a positive's score gets nothing, and is flagged."""
        return False

    @property
    def cosine_only(self) -> bool:
        """Whether it is defined on unit vectors alone."""
        return False

    @classmethod
    @abstractmethod
    def read(cls, message: Any) -> Self:
        """The policy that a message of policy.proto describes.

        Raises:
            InvalidInput: naming the value that is out of range.
        """

    @abstractmethod
    def wanted(self, k: int) -> int:
        """How many ranked candidates must pass the filters before picking k."""

    @abstractmethod
    def pick(self, pool: Pool, k: int) -> Picks:
        """At most k picks an anchor, no place twice, none beyond counts."""

    def width(self, k: int) -> int:
        """Columns of the reply."""
        return k

    def random_share(self, k: int) -> int:
        """How many of the k are random items of the collection, which `pick` leaves out."""
        return 0

    def band(self, positive_scores: F32) -> tuple[F32, F32] | None:
        """The highest and the lowest score [B] that the policy would take; None = any. Acts inside the scan."""
        return None

    def passed_over(self, pool: Pool) -> I64:
        """Candidates [B] before the policy's window."""
        return np.zeros(len(pool.counts), np.int64)

    def check(self, k: int, pool_max: int) -> None:
        """Whether k can be picked from what one scan may bring.

        Raises:
            InvalidInput: k is more than the policy can give.
            TooLarge: it wants more candidates than the server scans.
        """
        wanted = self.wanted(k)
        if wanted < k:
            field = f"policy.{self.name}.pool"
            raise InvalidInput(f"{field} is {wanted} and k is {k}; expected a pool of at least k", field=field)
        most = min(pool_max, COMPARED_MAX) if self.compares else pool_max
        if wanted > most:
            raise self.too_large("pool", wanted, most)

    def too_large(self, parameter: str, value: int, pool_max: int) -> TooLarge:
        """The error for a parameter that asks for more candidates than the server looks at."""
        field = f"policy.{self.name}.{parameter}"
        return TooLarge(f"{field} is {value}; this server takes up to {pool_max} candidates", field=field)


def checked(policy: str, name: str, value: float, low: float, high: float = np.inf, *, above: bool = False) -> float:
    """A parameter, where it is finite and in [low, high], or in (low, high] with `above`; else raises InvalidInput."""
    if not (np.isfinite(value) and (low < value if above else low <= value) and value <= high):
        bracket = "(" if above else "["
        raise InvalidInput(
            f"policy.{policy}.{name} is {value:g}; expected a finite value in {bracket}{low:g}, {high:g}]",
            field=f"policy.{policy}.{name}",
        )
    return value


def pool_for(k: int, pool: int) -> int:
    """The candidates that a sampling policy considers: `pool` where it is given."""
    return pool or max(POOL_FACTOR * k, POOL_MIN)


def random_keys(pool: Pool) -> U64:
    """A random key per candidate [B, P], fixed by (seed, anchor, item id)."""
    return keys_of(pool.anchor_keys, pool.seeds, pool.ids)


def keys_of(anchor_keys: U64, seeds: U64, ids: I64) -> U64:
    """A random key per item [B, P], fixed by (seed [B], anchor [B], item id [B, P])."""
    seeded = mix(anchor_keys ^ mix(seeds))
    return mix(seeded[:, None] ^ mix(ids.astype(np.uint64)))


def places(pool: Pool, k: int, first: int = 0) -> I64:
    """The places first, first + 1, … [B, k], -1 beyond what there is."""
    place = np.arange(first, first + k, dtype=np.int64)[None, :]
    return np.where(place < pool.counts[:, None], place, -1)


def lowest_keys(keys: U64, among: NDArray[np.bool_], k: int) -> I64:
    """The k places [B, k] with the lowest keys [B, P] among those marked, in rank order; -1 where there are fewer."""
    width = keys.shape[1]
    order = np.where(among, keys >> np.uint64(1), np.uint64(2**64 - 1))
    chosen = np.argsort(order, axis=1, kind="stable")[:, :k]
    chosen = np.where(np.take_along_axis(among, chosen, axis=1), chosen, width)
    chosen = np.sort(chosen, axis=1)
    if chosen.shape[1] < k:
        chosen = np.pad(chosen, ((0, 0), (0, k - chosen.shape[1])), constant_values=width)
    return np.where(chosen < width, chosen, -1)


def taken(array: NDArray[Any], picks: I64, fill: float) -> NDArray[Any]:
    """An array [B, P] at the picks [B, k], `fill` where a pick is -1."""
    values: NDArray[Any] = array[np.arange(len(picks))[:, None], picks]
    values[picks < 0] = fill
    return values
