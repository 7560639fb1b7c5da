"""Several ways to do the same, timed in turns, so that a noisy minute falls on all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any, TypeVar

WARM_UP_S = 1.0  # a first round that is longer than this counts
ONCE_S = 5.0  # a side whose call takes longer is not called again

S = TypeVar("S")


@dataclass
class Timed:
    """One side's calls."""

    seconds: list[float] = field(default_factory=list)
    answer: Any = None  # of its first call

    @property
    def median_s(self) -> float:
        """The median of its calls."""
        return median(self.seconds)


def alternate(sides: Mapping[S, Callable[[], Any]], *, rounds: int, seconds: float) -> dict[S, Timed]:
    """Calls every side once a round, until there were `rounds` rounds or `seconds` have gone by; at least one."""
    timed = {name: Timed() for name in sides}
    begin = time.perf_counter()
    for turn in range(rounds + 1):
        started = time.perf_counter()
        for name, call in sides.items():
            calls = timed[name].seconds
            if calls and calls[0] > ONCE_S:
                continue
            at = time.perf_counter()
            answer = call()
            calls.append(time.perf_counter() - at)
            if timed[name].answer is None:
                timed[name].answer = answer
        if turn == 0 and time.perf_counter() - started < WARM_UP_S:
            for side in timed.values():
                side.seconds.clear()
            begin = time.perf_counter()
        elif time.perf_counter() - begin > seconds:
            break
    return timed
