"""The log's protocol under adversarial schedules.

Several owners run on one in-memory store that performs one operation at a time, in an order that a seed decides: owners
are frozen for long and thawed, creates fail before or after their effect or lose their reply, listings are not atomic,
deletes stop half-way. A schedule depends on nothing but its seed.

The property: the states of all owners at all times are prefixes of one history, and whatever was acknowledged is in it.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from negmine_server.errors import DataLoss, Fenced, StorageFailed, StorageFull
from negmine_server.storage.log import Log, LogGap
from negmine_server.storage.objects import Data, Exists, Missing, ObjectInfo, buffers_of

PREFIX = "s/0"
Snapshots = list[tuple[int, tuple[bytes, ...]]]


class Killed(BaseException):
    """Ends the threads of an owner that a schedule abandons."""


class Steps:
    """Lets one blocked operation proceed at a time; everything else stands still meanwhile."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.running = 0
        self.blocked: dict[int, tuple[str, str]] = {}  # ticket -> owner, operation
        self.granted: dict[int, str] = {}
        self.tickets = 0

    def start(self, task: Callable[[], None]) -> None:
        with self.changed:
            self.running += 1

        def run() -> None:
            with contextlib.suppress(Killed):
                task()
            with self.changed:
                self.running -= 1
                self.changed.notify_all()

        threading.Thread(target=run, daemon=True).start()

    def wait_turn(self, owner: str, operation: str) -> str:
        """Blocks the calling thread until the schedule grants its operation; returns the outcome to act out."""
        with self.changed:
            self.tickets += 1
            ticket = self.tickets
            self.blocked[ticket] = (owner, operation)
            self.running -= 1
            self.changed.notify_all()
            self.changed.wait_for(lambda: ticket in self.granted)
            outcome = self.granted.pop(ticket)
        if outcome == "kill":
            raise Killed
        return outcome

    def grant(self, ticket: int, outcome: str = "ok") -> None:
        with self.changed:
            del self.blocked[ticket]
            self.granted[ticket] = outcome
            self.running += 1
            self.changed.notify_all()

    def settle(self) -> None:
        """Waits until every thread is blocked in an operation, or done."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.running == 0, timeout=60)


class SteppedObjects:
    """A create-only store in memory, seen by one owner."""

    def __init__(self, store: dict[str, bytes], steps: Steps, owner: str) -> None:
        self.store = store
        self.steps = steps
        self.owner = owner

    def create(self, key: str, data: Data) -> None:
        outcome = self.steps.wait_turn(self.owner, "create")
        if outcome == "full":
            raise StorageFull(f"{key}: no room")
        if key in self.store:
            raise Exists(key)
        self.store[key] = b"".join(buffers_of(data))
        if outcome != "ok":  # the client library repeated the request, and met its own object; or gave up
            raise Exists(key) if outcome == "retried" else StorageFailed(f"{key}: the reply was lost")

    def get(self, key: str) -> bytes:
        self.steps.wait_turn(self.owner, "get")
        if key not in self.store:
            raise Missing(key)
        return self.store[key]

    def list(self, prefix: str) -> list[ObjectInfo]:
        infos: list[ObjectInfo] = []
        for half in (0, 1):  # not atomic: even and odd keys are seen at different times
            if "/log/" in prefix or half == 0:
                self.steps.wait_turn(self.owner, "list")
            infos += [
                ObjectInfo(key, len(data))
                for key, data in self.store.items()
                if key.startswith(prefix) and int(key[-20:]) % 2 == half
            ]
        return sorted(infos)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.steps.wait_turn(self.owner, "delete")
            self.store.pop(key, None)


class SteppedPool(Executor):
    """Each task is a thread of the schedule."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.steps.start(lambda: fn(*args, **kwargs))
        return Future()


@dataclass
class OwnerUnderTest:
    name: str
    objects: SteppedObjects
    snapshots: Snapshots  # reading and adding one is atomic here
    window: int
    log: Log | None = None
    state: list[bytes] = field(default_factory=list)
    acked: list[bytes] = field(default_factory=list)
    frozen = busy = False  # busy: a takeover or a trim runs
    lost = ""
    sent = 0

    def take_over(self, steps: Steps) -> None:
        """Takes the log over again and again until it is ours, or another's."""
        while self.log is None:
            after, applied = max(self.snapshots)
            pool = SteppedPool(steps)
            try:
                log, replayed = Log.take_over(self.objects, PREFIX, after=after, window=self.window, pool=pool)
                state = [*applied, *(bytes(payload) for record in replayed for payload in record.payloads)]
                self.log, self.state = log, state
            except LogGap as error:
                if max(self.snapshots)[0] <= after:
                    self.lost = str(error)
                    return
            except DataLoss as error:
                self.lost = str(error)
                return
            except (Fenced, StorageFull, StorageFailed):
                return

    def submit(self) -> None:
        assert self.log is not None
        self.sent += 1
        payload = f"{self.name}.{self.sent}".encode()
        future = self.log.submit([payload])

        def resolved(done: Future[int]) -> None:
            if done.exception() is None:
                self.acked.append(payload)
                self.state.append(payload)

        future.add_done_callback(resolved)

    def snapshot_and_trim(self) -> None:
        assert self.log is not None
        sequence = self.log.acked
        self.snapshots.append((sequence, tuple(self.state)))
        with contextlib.suppress(StorageFull, StorageFailed):
            self.log.trim(sequence)


class Schedule:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.steps = Steps()
        self.store: dict[str, bytes] = {}
        self.snapshots: Snapshots = [(0, ())]
        self.owners: list[OwnerUnderTest] = []
        self.histories: list[tuple[bytes, ...]] = []

    def new_owner(self) -> OwnerUnderTest:
        name = f"owner{len(self.owners)}"
        objects = SteppedObjects(self.store, self.steps, name)
        owner = OwnerUnderTest(name, objects, self.snapshots, window=self.random.choice((1, 2, 3)))
        self.owners.append(owner)
        self.start(owner, lambda: owner.take_over(self.steps))
        return owner

    def start(self, owner: OwnerUnderTest, task: Callable[[], None]) -> None:
        def run() -> None:
            owner.busy = True
            task()
            owner.busy = False

        self.steps.start(run)

    def step(self) -> None:
        choice = self.random.random()
        owner = self.random.choice(self.owners)
        if choice < 0.03 and len(self.owners) < 6:
            self.new_owner()
        elif choice < 0.08:
            owner.frozen = not owner.frozen
        elif choice < 0.10:
            if owner.log is not None and not owner.busy and not owner.frozen:
                self.start(owner, owner.snapshot_and_trim)
        elif choice < 0.30:
            self.act(owner)
        else:
            self.grant()
        self.steps.settle()
        self.histories += [tuple(owner.state) for owner in self.owners if owner.log is not None]

    def act(self, owner: OwnerUnderTest) -> None:
        if owner.log is None or owner.busy or owner.frozen or isinstance(owner.log.error, Fenced):
            return
        if owner.log.error is not None:
            if owner.log.in_flight == 0:  # whoever sees the failure knows what was acknowledged before it
                owner.log = None
                self.start(owner, lambda: owner.take_over(self.steps))
        elif owner.log.in_flight < owner.window:
            owner.submit()

    def grant(self) -> None:
        frozen = {owner.name for owner in self.owners if owner.frozen}
        tickets = [ticket for ticket, (name, _) in self.steps.blocked.items() if name not in frozen]
        if not tickets:
            return
        ticket = self.random.choice(tickets)
        outcome = self.random.choice(["ok"] * 40 + ["full", "doubtful", "retried"])
        self.steps.grant(ticket, outcome if self.steps.blocked[ticket][1] == "create" else "ok")

    def finish(self) -> OwnerUnderTest:
        """Abandons everybody where they stand, and lets a last owner take over in peace."""
        for ticket in list(self.steps.blocked):
            self.steps.grant(ticket, "kill")
        self.steps.settle()
        while True:
            last = self.new_owner()
            self.steps.settle()
            while self.steps.blocked:
                self.steps.grant(next(iter(self.steps.blocked)))
                self.steps.settle()
            if last.log is not None or last.lost:
                return last


def check(seed: int, steps: int) -> Schedule:
    schedule = Schedule(seed)
    schedule.new_owner()
    schedule.steps.settle()
    for _ in range(steps):
        schedule.step()
    last = schedule.finish()
    for owner in schedule.owners:
        assert not owner.lost, f"seed {seed}: {owner.name}: {owner.lost}"
    history = tuple(last.state)
    assert len(set(history)) == len(history), f"seed {seed}: a record twice"
    acked = {payload for owner in schedule.owners for payload in owner.acked}
    assert acked <= set(history), f"seed {seed}: acknowledged and lost: {sorted(acked - set(history))}"
    for state in schedule.histories:
        assert history[: len(state)] == state, f"seed {seed}: {state} is no prefix of {history}"
    return schedule


@pytest.mark.timeout(120)
@settings(max_examples=120, deadline=None)
@given(seed=st.integers(0, 2**48))
def test_every_owner_ever_sees_a_prefix_of_one_history_that_holds_all_acknowledged_records(seed: int) -> None:
    check(seed, steps=400)


def test_schedules_reach_what_they_are_for() -> None:
    """Guards the test above against becoming vacuous."""
    schedules = [check(seed, steps=400) for seed in range(20)]
    owners = [owner for schedule in schedules for owner in schedule.owners]
    assert sum(len(owner.acked) for owner in owners) > 100
    assert sum(owner.log is not None for owner in owners) > 40
    assert sum(owner.log is not None and isinstance(owner.log.error, Fenced) for owner in owners) > 5
    assert sum(len(schedule.snapshots) > 2 for schedule in schedules) > 5
