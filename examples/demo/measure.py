"""How long mining takes: the client's wall time, and the server's own account of it, stage by stage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import negmine


@dataclass(frozen=True, slots=True)
class Latency:
    """Of equal mine calls: medians, in milliseconds."""

    anchors: int  # of a call
    calls: int
    wall_ms: float  # from call to answer
    stages_ms: dict[str, float]  # on the server
    outside_ms: float  # what no stage accounts for: the wire, and converting to and from it
    rows_scanned: int  # per anchor

    @property
    def anchors_per_s(self) -> float:
        """One call after another."""
        return self.anchors / self.wall_ms * 1e3


def measure(collection: negmine.Collection, requests: Sequence[negmine.MineArgs]) -> Latency:
    """Sends `requests`, all of one size, one after another; the first one warms up and is not counted."""
    walls: list[float] = []
    answers: list[negmine.Negatives] = []
    for request in (requests[0], *requests):
        begin = time.perf_counter()
        answers.append(collection.mine(**request))
        walls.append((time.perf_counter() - begin) * 1e3)
    counted, walls = answers[1:], walls[1:]
    stages = dict.fromkeys(stage for answer in counted for stage in answer.timings_ms)
    return Latency(
        anchors=len(counted[0]),
        calls=len(counted),
        wall_ms=median(walls),
        stages_ms={stage: median(answer.timings_ms.get(stage, 0.0) for answer in counted) for stage in stages},
        outside_ms=median(wall - sum(answer.timings_ms.values()) for wall, answer in zip(walls, counted, strict=True)),
        rows_scanned=counted[0].rows_scanned,
    )
