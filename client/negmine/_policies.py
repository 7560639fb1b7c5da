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
    """Without replacement, with probability in proportion to exp(beta * score) (HCL).

    `beta` is at least 0, and 0 is uniform. `pool` candidates are considered; 0 = 8 for each that is wanted, at least
    128.
    """

    beta: float = 1.0
    pool: int = 0


@dataclass(frozen=True, slots=True)
class SemiHard:
    """Candidates whose distance d satisfies d_positive < d <= d_positive + margin, the nearest first.

    Distances are between unit vectors: collections of metric "cosine" only, and anchors whose positive has a score. The
    band acts inside the scan, so that what lies beyond it starves nobody. `margin` is above 0.
    """

    margin: float = 0.2


@dataclass(frozen=True, slots=True)
class DistanceWeighted:
    """Sampled with the inverse of the density of distances between random unit vectors (Wu et al., 2017).

    Distances below `cutoff` are clamped to it; from `nonzero_loss_cutoff` on they have no weight. `pool` candidates are
    considered; 0 = 8 for each that is wanted, at least 128.
    """

    cutoff: float = 0.5
    nonzero_loss_cutoff: float = 1.4
    pool: int = 0


@dataclass(frozen=True, slots=True)
class Simans:
    """Sampled with probability in proportion to exp(-a * (score - positive score - b)^2) (SimANS).

    `a` is the sharpness, at least 0; `b` the offset from the positive's score. `pool` candidates are considered; 0 = 8
    for each that is wanted, at least 128.
    """

    a: float = 0.5
    b: float = 0.0
    pool: int = 0


@dataclass(frozen=True, slots=True)
class Dss:
    """Dynamic similarity sampling (Sample4Geo): `nearest` of the k are the nearest, the rest random from `pool`.

    `pool` is at least k. Sample4Geo's own: pool 128, and half of k=64 nearest.
    """

    pool: int
    nearest: int


@dataclass(frozen=True, slots=True)
class Diverse:
    """Maximal marginal relevance over `pool` candidates, at least k; trade_off 1 = relevance alone, 0 = diversity."""

    trade_off: float
    pool: int


@dataclass(frozen=True, slots=True)
class Unremix:
    """Importance from uncertainty, similarity and representativeness (UnReMix, 2022; the three terms are rebuilt).

    Attributes:
        lambda_uncertainty: weight of the uncertainty term. The three weights are at least 0; they are divided by their
            sum, which is not 0.
        lambda_similarity: weight of the similarity term.
        lambda_representativeness: weight of the representativeness term.
        tau: temperature, above 0.
        pool: candidates considered, at least k.
        weights_only: the whole pool comes back with weights instead of the k best: answers are `pool` wide.
    """

    lambda_uncertainty: float = 1 / 3
    lambda_similarity: float = 1 / 3
    lambda_representativeness: float = 1 / 3
    tau: float = 0.5
    pool: int = 128
    weights_only: bool = False


@dataclass(frozen=True, slots=True)
class Mixed:
    """`random_share` of the k, in [0, 1], is random items of the collection, after the others, picked by `hard`.

    Whatever protects against false negatives holds for the random ones too (ids, groups, tags, age, margins,
    max_score); min_score and windows of ranks do not. `hard` is neither Mixed nor weights_only; unset, Top.
    """

    random_share: float
    hard: Policy = Top()  # frozen, and may be shared


Policy: TypeAlias = Top | Window | Softmax | SemiHard | DistanceWeighted | Simans | Dss | Diverse | Unremix | Mixed


@dataclass(frozen=True, slots=True)
class Protection:
    """False-negative protection by score: candidates that may be unlabelled positives are dropped.

    s is a candidate's score, s+ the lowest score among the anchor's positives.

    Attributes:
        absolute_margin: drop where s + absolute_margin > s+; at least 0.
        relative_margin: drop where s > s+ - |s+| * relative_margin; in [0, 1].
        percent_of_positive: drop where s >= s+ - |s+| * (1 - percent_of_positive), which is percent_of_positive * s+
            where s+ is not negative (NV-Retriever; 0.95 is its best); in (0, 1].
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
