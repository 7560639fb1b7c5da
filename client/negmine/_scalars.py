"""Scalars of callers, checked where the wire could not carry them."""

from __future__ import annotations

from typing import Any

import numpy as np

from negmine._exceptions import InvalidInput


def unsigned(value: Any, field: str, *, bits: int = 32) -> int:
    """The value, where it fits the wire's unsigned integer."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 1 << bits:
        raise InvalidInput(f"{field} is {value!r}; expected an integer from 0 to {(1 << bits) - 1}", field=field)
    return int(value)


def share(value: Any, field: str) -> float:
    """The value, where it is a share of something that is not empty."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value <= 1:
        raise InvalidInput(f"{field} is {value!r}; expected more than 0, at most 1", field=field)
    return float(value)


def choice(value: str, choices: dict[str, int], field: str) -> int:
    """The wire's number of a named choice."""
    if value not in choices:
        raise InvalidInput(f"{field} is {value!r}; expected one of {', '.join(choices)}", field=field)
    return choices[value]
