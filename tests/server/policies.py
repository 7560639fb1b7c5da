"""Messages of every policy with parameters of all kinds, for k: a strategy by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from negmine.v1 import policy_pb2

POOLS_MAX = 40  # candidates


def _from(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_subnormal=False)


def _pools(k: int) -> st.SearchStrategy[int]:
    return st.integers(k, POOLS_MAX)


def _positive(high: float) -> st.SearchStrategy[float]:
    return _from(0, high).filter(lambda value: value > 0)


@st.composite
def _window(draw: st.DrawFn, k: int) -> Any:
    low = draw(st.integers(0, POOLS_MAX - k))
    high = draw(st.integers(low + k, POOLS_MAX))
    return policy_pb2.Window(range_min=low, range_max=high, sampling=draw(st.integers(0, 2)))


@st.composite
def _distance_weighted(draw: st.DrawFn, k: int) -> Any:
    low, high = sorted(draw(st.lists(st.integers(1, 200), min_size=2, max_size=2, unique=True)))
    return policy_pb2.DistanceWeighted(cutoff=low / 100, nonzero_loss_cutoff=high / 100, pool=draw(_pools(k)))


@st.composite
def _unremix(draw: st.DrawFn, k: int, *, whole: bool = True) -> Any:
    parts = draw(st.lists(_from(0, 1e3), min_size=3, max_size=3).filter(any))
    return policy_pb2.Unremix(
        lambda_uncertainty=parts[0],
        lambda_similarity=parts[1],
        lambda_representativeness=parts[2],
        tau=draw(_positive(1e3)),
        pool=draw(_pools(k)),
        weights_only=whole and draw(st.booleans()),
    )


@st.composite
def _mixed(draw: st.DrawFn, k: int) -> Any:
    name = draw(st.sampled_from([name for name in POLICIES if name != "mixed"]))
    hard = policy_pb2.Policy(unremix=draw(_unremix(k, whole=False))) if name == "unremix" else draw(POLICIES[name](k))
    if name == "dss":
        hard.dss.nearest = 0  # at most its part of k
    return policy_pb2.Mixed(random_share=draw(_from(0, 1)), hard=hard)


_BY_NAME: dict[str, Callable[[int], st.SearchStrategy[Any]]] = {
    "top": lambda k: st.builds(policy_pb2.Top),
    "window": _window,
    "softmax": lambda k: st.builds(policy_pb2.Softmax, beta=_from(0, 1e3), pool=st.just(0) | _pools(k)),
    "semi_hard": lambda k: st.builds(policy_pb2.SemiHard, margin=_positive(3)),
    "distance_weighted": _distance_weighted,
    "simans": lambda k: st.builds(policy_pb2.Simans, a=_from(0, 1e3), b=_from(-2, 2), pool=st.just(0) | _pools(k)),
    "dss": lambda k: st.builds(policy_pb2.Dss, pool=_pools(k), nearest=st.integers(0, k)),
    "diverse": lambda k: st.builds(policy_pb2.Diverse, trade_off=_from(0, 1), pool=_pools(k)),
    "unremix": _unremix,
    "mixed": _mixed,
}


def _message(name: str) -> Callable[[int], st.SearchStrategy[policy_pb2.Policy]]:
    return lambda k: _BY_NAME[name](k).map(lambda message: policy_pb2.Policy(**{name: message}))


POLICIES: dict[str, Callable[[int], st.SearchStrategy[policy_pb2.Policy]]] = {name: _message(name) for name in _BY_NAME}
