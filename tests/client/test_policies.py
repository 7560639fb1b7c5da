"""Every policy against its message."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

import negmine
import pytest
from negmine._policies import policy_message, pool_of
from negmine.v1 import policy_pb2

EXAMPLES = [
    negmine.Top(),
    negmine.Window(2, 10, "random"),
    negmine.Softmax(0.0, 200),
    negmine.SemiHard(0.2),
    negmine.DistanceWeighted(0.4, 1.2, 300),
    negmine.Simans(0.5, 0.1, 400),
    negmine.Dss(64, 4),
    negmine.Diverse(0.5, 32),
    negmine.Unremix(1.0, 0.5, 0.25, 0.1, 64, weights_only=True),
    negmine.Mixed(0.25, negmine.Window(1, 5)),
]


def test_there_is_a_class_for_every_message_and_an_example_of_every_class() -> None:
    members = {field.name for field in policy_pb2.Policy.DESCRIPTOR.oneofs_by_name["policy"].fields}
    assert {policy_message(policy).WhichOneof("policy") for policy in EXAMPLES} == members
    assert {type(policy) for policy in EXAMPLES} == set(get_args(negmine.Policy))


@pytest.mark.parametrize("policy", EXAMPLES, ids=lambda policy: type(policy).__name__)
def test_fields_carry_over(policy: negmine.Policy) -> None:
    message = policy_message(policy)
    inner = getattr(message, message.WhichOneof("policy"))
    assert {field.name for field in fields(policy)} == {field.name for field in inner.DESCRIPTOR.fields}
    for field in fields(policy):
        value = getattr(policy, field.name)
        if field.name == "sampling":
            assert inner.sampling == {"top": 1, "random": 2}[value]
        elif field.name == "hard":
            assert inner.hard == policy_message(value)
        else:
            assert getattr(inner, field.name) == value


def test_defaults_are_those_of_the_papers() -> None:
    assert negmine.Softmax() == negmine.Softmax(1.0, 0)
    assert negmine.SemiHard() == negmine.SemiHard(0.2)
    assert negmine.Simans() == negmine.Simans(0.5, 0.0, 0)
    assert negmine.DistanceWeighted() == negmine.DistanceWeighted(0.5, 1.4, 0)
    assert negmine.Unremix() == negmine.Unremix(1 / 3, 1 / 3, 1 / 3, 0.5, 128)
    assert negmine.Mixed(0.5) == negmine.Mixed(0.5, negmine.Top())


def test_protection_names_the_messages_fields() -> None:
    from negmine.v1 import mining_pb2

    ours = {field.name for field in fields(negmine.Protection)}
    assert ours == {field.name for field in mining_pb2.Protection.DESCRIPTOR.fields}


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (negmine.Window(-1, 5), "policy is Window"),
        (negmine.Window(0, 5, "best"), "policy.sampling is 'best'; expected one of top, random"),  # type: ignore[arg-type]
        (negmine.Softmax("hot"), "policy is Softmax"),  # type: ignore[arg-type]
        (negmine.Mixed(0.5, negmine.Dss(-1, 0)), "policy is Dss"),
        (object(), "expected one of Top"),
    ],
)
def test_values_the_wire_cannot_carry_are_refused(policy: negmine.Policy, message: str) -> None:
    with pytest.raises(negmine.InvalidInput, match=message):
        policy_message(policy)


def test_only_weights_widen_an_answer() -> None:
    assert [pool_of(policy) for policy in EXAMPLES] == [0, 0, 0, 0, 0, 0, 0, 0, 64, 0]
