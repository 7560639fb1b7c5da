"""Rounds of load on a server: how they are quoted, and how they run while rows come in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import numpy as np

from harness import machine
from harness.load import Answer, Command, Load

SETTLE_S = 0.5  # between the first upsert and the first call that counts


@dataclass
class Rounds:
    """One side's rounds of one load.

    Attributes:
        anchors: of a call.
    """

    anchors: int
    answers: list[Answer] = field(default_factory=list)

    @property
    def anchors_s(self) -> float:
        """Throughput of the median round."""
        return median(len(answer.latencies_ms) * self.anchors / answer.seconds for answer in self.answers)

    def quantile_ms(self, q: float) -> float:
        """Latency, over the calls of all rounds."""
        return float(np.quantile([ms for answer in self.answers for ms in answer.latencies_ms], q))

    def params(self) -> dict[str, Any]:
        """As it is quoted."""
        return {
            "anchors_s": self.anchors_s,
            "calls_s": self.anchors_s / self.anchors,
            "p50_ms": self.quantile_ms(0.5),
            "p99_ms": self.quantile_ms(0.99),
            "calls": sum(len(answer.latencies_ms) for answer in self.answers),
        }


@dataclass(frozen=True)
class Loops:
    """Two load processes: one calls, the other upserts meanwhile where that is asked for."""

    mine: Load
    upserts: Load

    def run(self, command: Command, pid: int) -> tuple[Answer, dict[str, float]]:
        """A load; how many cores the server (a process id) and the client took."""
        server_s = machine.cpu_s(pid)
        answer = self.mine.run(command)
        server_s = machine.cpu_s(pid) - server_s
        return answer, {"server": server_s / answer.seconds, "mine_client": answer.cpu_s / answer.seconds}

    def run_while_upserting(
        self, command: Command, pid: int, rate: int, form: str, rows: int
    ) -> tuple[Answer, dict[str, Any]]:
        """The same while `rate` rows a second below `rows` come in as "float" or "code"; also the rate that was met."""
        self.upserts.begin(replace(command, do="upsert", rate=rate, form=form, rows=rows))
        self.mine.run(replace(command, do="closed", clients=1, anchors=1, seconds=SETTLE_S))
        answer, cores = self.run(command, pid)
        upserted = self.upserts.stop()
        cores["upsert_client"] = upserted.cpu_s / upserted.seconds
        met = {
            "rows_s_asked": rate,
            "rows_s": upserted.rows / upserted.seconds,
            "batch_p99_ms": float(np.quantile(upserted.latencies_ms, 0.99)),
            "cores": cores,
        }
        return answer, met
