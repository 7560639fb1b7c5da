"""How k negatives are picked from an anchor's candidates: one dataclass for each message of policy.proto."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Literal, TypeAlias

from negmine._exceptions import InvalidInput
from negmine._scalars import choice
from negmine.v1 import mining_pb2, policy_pb2


@dataclass(frozen=True, slots=True)
class Top:
    """The k hardest."""


@dataclass(frozen=True, slots=True)
class Window:
    """Ranks [range_min, range_max) of the candidates that passed the filters, counted from 0.

    `sampling` "top" takes the hardest of the window, "random" samples it uniformly without replacement by the seed.
    """

    range_min: int
    range_max: int
    sampling: Literal["top", "random"] = "top"


@dataclass(frozen=True, slots=True)
class Softmax:
    """Without replacement, with probability in proportion to exp(beta * score) (HCL); beta 0 is uniform."""

    beta: float


@dataclass(frozen=True, slots=True)
class SemiHard:
    """Candidates whose distance d satisfies d_positive < d <= d_positive + margin, between unit vectors."""

    margin: float


@dataclass(frozen=True, slots=True)
class DistanceWeighted:
    """Inverse density of distances between random unit vectors (Wu et al., 2017)."""

    cutoff: float = 0.5
    nonzero_loss_cutoff: float = 1.4


@dataclass(frozen=True, slots=True)
class Simans:
    """With probability in proportion to exp(-a * (score - positive score - b)^2) (SimANS)."""

    a: float
    b: float


@dataclass(frozen=True, slots=True)
class Dss:
    """Dynamic similarity sampling (Sample4Geo): `nearest` of the k are the nearest, the rest random from `pool`."""

    pool: int
    nearest: int


@dataclass(frozen=True, slots=True)
class Diverse:
    """Maximal marginal relevance over `pool` candidates; trade_off 1 = relevance alone, 0 = diversity alone."""

    trade_off: float
    pool: int


@dataclass(frozen=True, slots=True)
class Unremix:
    """Importance from uncertainty, similarity and representativeness (UnReMix, 2022).

    With `weights_only` the whole pool comes back with weights instead of the k best.
    """

    lambda_uncertainty: float
    lambda_similarity: float
    lambda_representativeness: float
    tau: float
    pool: int
    weights_only: bool = False


@dataclass(frozen=True, slots=True)
class Mixed:
    """`random_share` of the k is random, the others are picked by `hard`."""

    random_share: float
    hard: Policy


Policy: TypeAlias = Top | Window | Softmax | SemiHard | DistanceWeighted | Simans | Dss | Diverse | Unremix | Mixed


@dataclass(frozen=True, slots=True)
class Protection:
    """False-negative protection by score: candidates that may be unlabelled positives are dropped.

    s is a candidate's score, s+ the lowest score among the anchor's positives.

    Attributes:
        absolute_margin: drop where s + absolute_margin > s+; at least 0.
        relative_margin: drop where s > s+ - |s+| * relative_margin; in [0, 1].
        percent_of_positive: drop where s >= percent_of_positive * s+ (NV-Retriever, 0.95 is its best); in (0, 1].
        max_score: drop where s > max_score.
        min_score: drop where s < min_score.
    """

    absolute_margin: float | None = None
    relative_margin: float | None = None
    percent_of_positive: float | None = None
    max_score: float | None = None
    min_score: float | None = None


_FIELDS: Final[dict[type, str]] = {
    Top: "top",
    Window: "window",
    Softmax: "softmax",
    SemiHard: "semi_hard",
    DistanceWeighted: "distance_weighted",
    Simans: "simans",
    Dss: "dss",
    Diverse: "diverse",
    Unremix: "unremix",
    Mixed: "mixed",
}
_SAMPLING: Final[dict[str, int]] = {
    "top": policy_pb2.Window.SAMPLING_TOP,
    "random": policy_pb2.Window.SAMPLING_RANDOM,
}


def policy_message(policy: Policy) -> policy_pb2.Policy:
    """The policy as it travels.

    Raises:
        InvalidInput: not a policy, or a value that the wire cannot carry.
    """
    name = _FIELDS.get(type(policy))
    if name is None:
        known = ", ".join(kind.__name__ for kind in _FIELDS)
        raise InvalidInput(f"policy is {policy!r}; expected one of {known}", field="policy")
    values: dict[str, Any] = {field.name: getattr(policy, field.name) for field in fields(policy)}
    if isinstance(policy, Window):
        values["sampling"] = choice(policy.sampling, _SAMPLING, "policy.sampling")
    elif isinstance(policy, Mixed):
        values["hard"] = policy_message(policy.hard)
    message = policy_pb2.Policy()
    try:
        getattr(message, name).MergeFrom(type(getattr(message, name))(**values))
        getattr(message, name).SetInParent()
    except (TypeError, ValueError) as wrong:
        raise InvalidInput(f"policy is {policy!r}: {wrong}", field="policy") from wrong
    return message


def policy_names(policy: Policy) -> list[str]:
    """The wire's names of a policy and of the one inside it."""
    inner = policy_names(policy.hard) if isinstance(policy, Mixed) else []
    return [_FIELDS[type(policy)], *inner]


def pool_of(policy: Policy) -> int:
    """Most candidates of an anchor that a reply under this policy may hold; 0 = k."""
    return policy.pool if isinstance(policy, Unremix) and policy.weights_only else 0


def protection_message(protection: Protection) -> mining_pb2.Protection:
    """The protection as it travels."""
    try:
        return mining_pb2.Protection(
            **{
                field.name: getattr(protection, field.name)
                for field in fields(protection)
                if getattr(protection, field.name) is not None
            }
        )
    except TypeError as wrong:
        raise InvalidInput(f"protection is {protection!r}: {wrong}", field="protection") from wrong
