"""Policies by the names of policy.proto: each file of `pickers/` holds the one it is named after."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from google.protobuf.unknown_fields import UnknownFieldSet
from negmine.v1 import policy_pb2

from negmine_server.errors import Unimplemented
from negmine_server.select import pickers
from negmine_server.select.policy import Policy


@cache
def names() -> tuple[str, ...]:
    """Of all policies that this version has, in the order of policy.proto."""
    have = {module.name for module in pkgutil.iter_modules(pickers.__path__)}
    return tuple(field.name for field in policy_pb2.Policy.DESCRIPTOR.fields if field.name in have)


@cache
def kind(name: str) -> type[Policy]:
    """The class of a policy: semi_hard is `SemiHard` in pickers/semi_hard.py."""
    module = importlib.import_module(f"{pickers.__name__}.{name}")
    found: type[Policy] = getattr(module, "".join(part.capitalize() for part in name.split("_")))
    return found


def read_policy(message: policy_pb2.Policy) -> Policy:
    """The policy that a message describes; top where it names none.

    Raises:
        InvalidInput: naming the parameter that is out of range.
        Unimplemented: a policy that this version does not have.
    """
    name = message.WhichOneof("policy")
    if name is None:
        newer = [field.field_number for field in UnknownFieldSet(message)]
        name = f"number {newer[0]}" if newer else "top"
    if name not in names():
        raise Unimplemented(
            f"policy {name!r} is not served by this version, which has {', '.join(names())}", field="policy"
        )
    return kind(name).read(getattr(message, name))
