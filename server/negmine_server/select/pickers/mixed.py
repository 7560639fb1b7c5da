"""mixed: another policy, with a share of random items of the collection after what it picks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from negmine_server.domain import F32, I64
from negmine_server.errors import InvalidInput
from negmine_server.select import registry
from negmine_server.select.policy import Picks, Policy, Pool, checked


@dataclass(frozen=True, slots=True)
class Mixed(Policy):
    """The policy picks its part of the k; who mines draws the random ones.

    Raises:
        InvalidInput: random_share is outside [0, 1], or the other policy is mixed too or returns its whole pool.
    """

    share: float
    hard: Policy

    name = "mixed"

    def __post_init__(self) -> None:
        checked(self.name, "random_share", self.share, 0, 1)
        if isinstance(self.hard, Mixed):
            raise InvalidInput("policy.mixed.hard is mixed; expected another policy", field="policy.mixed.hard")
        if self.hard.width(0) != 0 or self.hard.width(1) != 1:
            raise InvalidInput(
                f"policy.mixed.hard is {self.hard.name} with its whole pool; expected one that picks k",
                field="policy.mixed.hard",
            )

    @classmethod
    def read(cls, message: Any) -> Self:
        """From policy.proto's Mixed."""
        return cls(message.random_share, registry.read_policy(message.hard))

    @property
    def compares(self) -> bool:
        """The other policy's."""
        return self.hard.compares

    @property
    def reads_uncertainties(self) -> bool:
        """The other policy's."""
        return self.hard.reads_uncertainties

    @property
    def needs_positive(self) -> bool:
        """The other policy's."""
        return self.hard.needs_positive

    @property
    def cosine_only(self) -> bool:
        """The other policy's."""
        return self.hard.cosine_only

    def random_share(self, k: int) -> int:
        """The share of k, rounded to a whole number, halves to an even one."""
        return round(self.share * k)

    def wanted(self, k: int) -> int:
        """What the other policy wants for its part of k; nothing where all are random."""
        picked = k - self.random_share(k)
        return self.hard.wanted(picked) if picked else 0

    def pick(self, pool: Pool, k: int) -> Picks:
        """The other policy's k picks: k is its part."""
        return self.hard.pick(pool, k)

    def band(self, positive_scores: F32) -> tuple[F32, F32] | None:
        """The other policy's."""
        return self.hard.band(positive_scores)

    def passed_over(self, pool: Pool) -> I64:
        """The other policy's."""
        return self.hard.passed_over(pool)

    def check(self, k: int, pool_max: int) -> None:
        """Whether the other policy can pick its part of k."""
        picked = k - self.random_share(k)
        if picked:
            self.hard.check(picked, pool_max)
