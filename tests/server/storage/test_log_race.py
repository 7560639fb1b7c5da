"""Processes that race for one log in a real folder: stopped, resumed, killed, fencing each other, trimming.

Each writer notes every acknowledgement in its own journal before it goes on. At the end one takeover replays the log:
it must hold every acknowledged record once, in the order of the acknowledged sequences, whoever wrote it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from negmine_server.errors import DataLoss, Fenced
from negmine_server.storage.log import Log, LogGap
from negmine_server.storage.objects import LocalObjects
from negmine_server.storage.snapshots import latest_snapshot, prune, write_snapshot

PREFIX = "c/0"
WRITERS = 3
SECONDS = 10


def load(objects: LocalObjects) -> tuple[Log, list[int]]:
    """Takes over, as often as somebody trims meanwhile; the state is the numbers of all records so far."""
    while True:
        snapshot = latest_snapshot(objects, PREFIX)
        after = snapshot.sequence if snapshot else 0
        try:
            state = [int(number) for part in snapshot.parts() for number in part["numbers"]] if snapshot else []
            log, replayed = Log.take_over(objects, PREFIX, after=after)
            state += [number_of(record.payloads[0]) for record in replayed]
            return log, state
        except (LogGap, DataLoss):  # trimmed, or the snapshot was pruned, behind a newer one
            newer = latest_snapshot(objects, PREFIX)
            if newer is None or newer.sequence <= after:
                raise


def number_of(payload: bytes | memoryview) -> int:
    return int.from_bytes(payload[:8], "little")


class Writer:
    def __init__(self, root: Path, name: int) -> None:
        self.objects = LocalObjects(root)
        self.random = random.Random(name)
        self.number = name << 32
        self.journal = os.open(root.parent / f"journal-{name}", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, what: str) -> None:
        os.write(self.journal, f"{what}\n".encode())

    def run(self) -> None:
        while True:
            try:
                log, state = load(self.objects)
                self.note(f"took {log.next_sequence}")
                self.own(log, state)
            except Fenced:
                self.note("fenced 0")
            time.sleep(self.random.random() * 0.3)  # pace, not synchronisation

    def own(self, log: Log, state: list[int]) -> None:
        """Appends, eight in flight, and snapshots, until fenced."""
        waiting: deque[tuple[Future[int], int]] = deque()
        while True:
            while log.in_flight < log.window:
                self.number += 1
                payload = self.number.to_bytes(8, "little") + bytes(self.random.randrange(20_000))
                waiting.append((log.submit([payload]), self.number))
            acked = waiting[0][0].result()
            while waiting and waiting[0][0].done():
                future, number = waiting.popleft()
                acked = future.result()
                state.append(number)
                self.note(f"ack {acked} {number}")
            if self.random.random() < 0.05:
                write_snapshot(self.objects, PREFIX, acked, [{"numbers": np.array(state, np.int64)}], {})
                prune(self.objects, PREFIX)
                log.trim(acked)


@pytest.mark.timeout(90)
@pytest.mark.slow
def test_no_acknowledged_record_is_lost_and_no_stale_write_accepted(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3] / "server")}
    choose = random.Random(0)
    names = iter(range(1, 1000))

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, __file__, str(root), str(next(names))]
        return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)

    writers = [start() for _ in range(WRITERS)]
    problems: list[bytes] = []
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        index = choose.randrange(WRITERS)
        writers[index].send_signal(signal.SIGSTOP)
        time.sleep(choose.random() * 0.6)  # how long the owner stands still, and others take over
        writers[index].send_signal(signal.SIGCONT)
        if choose.random() < 0.25:
            problems.append(stop(writers[index]))
            writers[index] = start()
    problems += [stop(writer) for writer in writers]
    assert [problem for problem in problems if problem] == []

    lines = [line.split() for path in tmp_path.glob("journal-*") for line in path.read_text().splitlines()]
    acked = sorted((int(line[1]), int(line[2])) for line in lines if line[0] == "ack" and len(line) == 3)
    _, history = load(LocalObjects(root))
    assert len(set(history)) == len(history), "a record twice"
    assert len({sequence for sequence, _ in acked}) == len(acked), "two records acknowledged with one sequence"
    in_history = set(history)
    assert [number for _, number in acked if number not in in_history] == [], "acknowledged and lost"
    known = {number for _, number in acked}
    assert [number for number in history if number in known] == [number for _, number in acked]
    counts = {what: sum(line[0] == what for line in lines) for what in ("ack", "took", "fenced")}
    assert counts["ack"] > 100, counts
    assert counts["took"] > WRITERS + 2, counts
    assert counts["fenced"] > 2, counts


def stop(writer: subprocess.Popen[bytes]) -> bytes:
    """Kills it, and returns what it said had it died before by itself."""
    died = writer.poll() is not None
    writer.kill()
    _, said = writer.communicate()
    return said[-2000:] or b"died in silence" if died else b""


if __name__ == "__main__":
    Writer(Path(sys.argv[1]), int(sys.argv[2])).run()
