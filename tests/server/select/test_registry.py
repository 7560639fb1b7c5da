"""Every policy of policy.proto has a file, and keeps what Policy promises: whatever its parameters and the pool."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine.v1 import policy_pb2
from negmine_server.domain import F32
from negmine_server.errors import Unimplemented
from negmine_server.select import registry
from negmine_server.select.policy import Picks, Policy, Pool
from policies import POLICIES
from pools import random_pool, rows_of


@st.composite
def cases(draw: st.DrawFn, name: str) -> tuple[Policy, Pool, int]:
    """A policy, k, and a pool as wide as the policy wants it."""
    k = draw(st.integers(1, 9))
    policy = registry.read_policy(draw(POLICIES[name](k)))
    policy.check(k, 200)
    width = max(1, policy.wanted(k))
    counts = draw(st.lists(st.integers(0, width) | st.just(width), min_size=1, max_size=6))
    pool = random_pool(counts, width, draw(st.integers(0, 1000)), coded=draw(st.booleans()))
    return policy, pool, k - policy.random_share(k)


def same(picks: Picks, others: Picks) -> None:
    np.testing.assert_array_equal(picks.places, others.places)
    np.testing.assert_equal(picks.weights, others.weights)


def same_band(alone: tuple[F32, F32] | None, together: tuple[F32, F32] | None, row: int) -> None:
    if alone is None or together is None:
        assert (alone, together) == (None, None)
        return
    for mine, others in zip(alone, together, strict=True):
        assert others.dtype == np.float32
        np.testing.assert_array_equal(mine, others[[row]])


def test_every_policy_has_a_file() -> None:
    fields = policy_pb2.Policy.DESCRIPTOR.oneofs_by_name["policy"].fields
    assert registry.names() == tuple(field.name for field in fields)
    assert set(POLICIES) == set(registry.names())
    for name in registry.names():
        assert registry.kind(name).name == name


def test_top_where_none_is_named() -> None:
    assert registry.read_policy(policy_pb2.Policy()).name == "top"


def test_a_policy_that_this_version_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "names", lambda: ("top",))
    with pytest.raises(Unimplemented, match="'dss' is not served by this version, which has top"):
        registry.read_policy(policy_pb2.Policy(dss=policy_pb2.Dss()))
    newer = policy_pb2.Policy.FromString(b"\x9a\x06\x00")  # an empty message, number 99
    with pytest.raises(Unimplemented, match="'number 99' is not served"):
        registry.read_policy(newer)


def every(check: Callable[[tuple[Policy, Pool, int]], None]) -> Callable[[str], None]:
    """One test a policy."""

    @pytest.mark.parametrize("name", registry.names())
    def test(name: str) -> None:
        settings(max_examples=25)(given(cases(name))(check))()

    return test


@every
def test_picks_are_places_of_the_pool(case: tuple[Policy, Pool, int]) -> None:
    policy, pool, k = case
    picks = policy.pick(pool, k)
    assert picks.places.shape == (len(pool.ids), max(policy.width(k), k))
    assert picks.places.dtype == np.int64
    for row, count in zip(picks.places, pool.counts.tolist(), strict=True):
        there = row[row >= 0].tolist()
        assert row.tolist() == there + [-1] * (len(row) - len(there))  # none after the last
        assert len(set(there)) == len(there)
        assert all(place < count for place in there)
    assert (policy.passed_over(pool) <= pool.counts).all()


@every
def test_weights_have_mean_one(case: tuple[Policy, Pool, int]) -> None:
    policy, pool, k = case
    picks = policy.pick(pool, k)
    if picks.weights is None:
        return
    assert (picks.weights.dtype, picks.weights.shape) == (np.float32, picks.places.shape)
    there = picks.places >= 0
    assert (picks.weights >= 0).all()
    assert not picks.weights[~there].any()
    np.testing.assert_allclose(picks.weights.sum(axis=1), there.sum(axis=1), rtol=1e-5)


@every
def test_an_anchor_gets_the_same_in_any_batch(case: tuple[Policy, Pool, int]) -> None:
    policy, pool, k = case
    picks = policy.pick(pool, k)
    same(policy.pick(pool, k), picks)
    rows = len(pool.ids)
    orders = [[row] for row in range(rows)] + [list(range(rows))[::-1], [rows - 1, 0]]
    for order in orders:
        weights = None if picks.weights is None else picks.weights[order]
        same(policy.pick(rows_of(pool, order), k), Picks(picks.places[order], weights))
    for row in range(rows):
        same_band(policy.band(pool.positive_scores[[row]]), policy.band(pool.positive_scores), row)
