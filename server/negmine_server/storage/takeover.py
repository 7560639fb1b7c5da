"""Taking over a log: find its end, fence the previous owner, decide what is replayed. `log.py` states the protocol."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

from negmine_server.errors import DataLoss, Fenced, Overloaded
from negmine_server.storage.marks import Mark, create_or_read, log_key, newest_mark, sequence_of
from negmine_server.storage.objects import Missing, Objects
from negmine_server.storage.records import Corrupt, Kind, Unreadable, decode_frame, encode_frame

_CHASE_MAX = 10_000  # slots lost to a live owner before a takeover gives up

Plan = list[tuple[int, bytes, int]]  # sequence, token and size in bytes of each record to be applied

logger = logging.getLogger(__name__)


class LogGap(DataLoss):
    """Records that the replay needs are not there: trimmed behind a newer snapshot, or lost.

    Read the newest snapshot again: when it is newer than the `after` that was given, take over from there; when it is
    not, the records are lost and the shard cannot be served.
    """


@dataclass(frozen=True, slots=True)
class Replayed:
    sequence: int
    payloads: list[memoryview]


@dataclass(frozen=True, slots=True)
class Owner:
    """A fence: from slot `first` on the log belongs to `token`, whose first record is at `first + fill`.

    `fill` is at least the window of every owner before, so no stale create can land beyond it.
    """

    first: int
    fill: int
    token: bytes
    dropped: tuple[int, ...] = ()  # torn slots before `first` that held nothing acknowledged

    @property
    def zone(self) -> range:
        return range(self.first, self.first + self.fill)

    def frame(self, sequence: int) -> bytes:
        text = json.dumps({"first": self.first, "fill": self.fill, "dropped": self.dropped})
        return b"".join(encode_frame(Kind.FENCE, sequence, self.token, [text.encode()]))


@dataclass(frozen=True, slots=True)
class Taken:
    """What a takeover found and made."""

    owner: Owner  # ours
    mark: Mark
    owners: tuple[Owner, ...]  # all after the mark, in order, ours last
    replay: Plan

    @property
    def dropped(self) -> tuple[int, ...]:
        return tuple(slot for owner in self.owners if owner.token == self.owner.token for slot in owner.dropped)


@dataclass(slots=True)
class _Slot:
    sequence: int
    size: int
    token: bytes = b""
    fence: Owner | None = None
    problem: str = ""  # why it is unreadable


@dataclass(slots=True)
class _Walk:
    """The contiguous slots after a mark, as they are read, and what they mean."""

    prefix: str
    mark: Mark
    after: int
    fill: int
    slots: list[_Slot] = field(default_factory=list)
    dropped: tuple[int, ...] = ()

    def add(self, sequence: int, data: bytes) -> None:
        slot = _Slot(sequence, len(data))
        key = log_key(self.prefix, sequence)
        try:
            frame = decode_frame(data, key)
            if frame.sequence != sequence or frame.kind is Kind.TRIM:
                raise Corrupt(f"{key}: holds {frame.kind.name} {frame.sequence}")
            slot.token = frame.token
            if frame.kind is Kind.FENCE:
                slot.fence = _owner(frame.token, frame.payloads, key)
                self.fill = max(self.fill, slot.fence.fill)
        except Unreadable as error:
            slot.problem = str(error)
        self.slots.append(slot)

    @property
    def owners(self) -> list[Owner]:
        return list(dict.fromkeys(slot.fence for slot in self.slots if slot.fence is not None))

    def replay(self) -> Plan:
        """Records to apply; sets `dropped`. Raises DataLoss for an unreadable record that something readable follows.

        Inside a fence's zone nothing can be lost: it holds fences and creates of the fenced, never acknowledged.
        """
        owners = self.owners
        forgiven = {sequence for owner in owners for sequence in (*owner.zone, *owner.dropped)}
        forgiven.update(sequence for first, fill in self.mark.kept for sequence in range(first, first + fill))
        readable = [slot.sequence for slot in self.slots if not slot.problem]
        tail = readable[-1] + 1 if readable else self.mark.through + 1
        replay: Plan = []
        dropped: list[int] = []
        token = self.mark.owner
        for slot in self.slots:
            if slot.problem:
                if slot.sequence <= self.after or slot.sequence in forgiven:
                    continue
                if slot.sequence < tail:
                    raise DataLoss(f"corrupt record in the middle of the log: {slot.problem}")
                dropped.append(slot.sequence)
            elif slot.fence is not None:
                token = slot.token
            elif token is None:
                raise DataLoss(f"{log_key(self.prefix, slot.sequence)}: a record before the log's first fence")
            elif slot.token == token and slot.sequence > self.after:
                replay.append((slot.sequence, slot.token, slot.size))
        self.dropped = tuple(dropped)
        return replay

    def check_free(self, sequence: int, listed: set[int]) -> None:
        """Raises LogGap when a free slot must have been taken before: something later is there than a window allows."""
        beyond = max(listed, default=0)
        unowned = not self.slots and self.mark.owner is None and beyond > 0
        if sequence <= self.after or sequence in listed or beyond >= sequence + self.fill or unowned:
            raise LogGap(
                f"{log_key(self.prefix, sequence)} is missing: the state given holds records up to {self.after}, "
                f"the log ends at {max(beyond, sequence - 1)}"
            )


def _owner(token: bytes, payloads: list[memoryview], key: str) -> Owner:
    try:
        content = json.loads(bytes(payloads[0]))
        return Owner(content["first"], content["fill"], token, tuple(content["dropped"]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Corrupt(f"{key}: bad fence: {error!r}") from error


def take(objects: Objects, prefix: str, after: int, window: int, token: bytes) -> Taken:
    """Fences every earlier owner of the log and decides the replay.

    Raises Fenced (another takeover came later), LogGap, DataLoss, NotReady (a newer format), Overloaded (a live owner
    cannot be overtaken), StorageFull and StorageFailed.
    """
    walk, owner, replay = _fence_ahead(objects, prefix, after, window, token)
    for sequence in owner.zone[1:]:
        _fence_further(objects, log_key(prefix, sequence), owner.frame(sequence), token)
    taken = Taken(owner, walk.mark, (*walk.owners, owner), replay)
    if taken.dropped:
        logger.warning("%s: dropped the torn tail of the log: records %s", prefix, list(taken.dropped))
    return taken


def _fence_ahead(objects: Objects, prefix: str, after: int, window: int, token: bytes) -> tuple[_Walk, Owner, Plan]:
    """Walks and fences until nobody trimmed meanwhile: only then does the walk mean what it says (see `marks.py`)."""
    mark = newest_mark(objects, prefix)
    while after >= mark.through:
        walk = _Walk(prefix, mark, after, max([window, *(fill for _, fill in mark.kept)]))
        try:
            outcome: tuple[Owner, Plan] | DataLoss = _fence_first_free(objects, walk, token)
        except DataLoss as error:
            outcome = error
        mark = newest_mark(objects, prefix)
        if mark.through == walk.mark.through:
            if isinstance(outcome, DataLoss):
                raise outcome
            return walk, *outcome
    raise LogGap(f"{prefix}: the log was trimmed through {mark.through}, the state given ends at {after}")


def _fence_first_free(objects: Objects, walk: _Walk, token: bytes) -> tuple[Owner, Plan]:
    listed = {sequence_of(info.key) for info in objects.list(f"{walk.prefix}/log/")}
    sequence = walk.mark.through + 1
    for _ in range(_CHASE_MAX):
        while (found := _get(objects, log_key(walk.prefix, sequence))) is not None:
            walk.add(sequence, found)
            sequence += 1
        walk.check_free(sequence, listed)
        replay = walk.replay()
        owner = Owner(sequence, walk.fill, token, walk.dropped)
        if create_or_read(objects, log_key(walk.prefix, sequence), owner.frame(sequence)) is None:
            return owner, replay
    message = f"{walk.prefix}: a live owner was faster {_CHASE_MAX} times"
    raise Overloaded(message, reason="LOG_BUSY", retry_after_ms=1000)


def _fence_further(objects: Objects, key: str, data: bytes, token: bytes) -> None:
    found = create_or_read(objects, key, data)
    if found is None:
        return
    try:
        frame = decode_frame(found, key)
    except Unreadable:  # a stale create, torn: nobody acknowledged it
        return
    if frame.kind is Kind.FENCE and frame.token != token:
        raise Fenced(f"{key}: another owner took over the log while this one was taking over")


def _get(objects: Objects, key: str) -> bytes | None:
    try:
        return objects.get(key)
    except Missing:
        return None


def replay(objects: Objects, prefix: str, taken: Taken) -> Iterator[Replayed]:
    """Reads the records to be applied, one at a time. Raises LogGap when a stale owner trimmed them meanwhile."""
    for sequence, token, _ in taken.replay:
        key = log_key(prefix, sequence)
        found = _get(objects, key)
        if found is None:
            raise LogGap(f"{key}: trimmed during the replay")
        try:
            frame = decode_frame(found, key)
        except Unreadable as error:
            raise DataLoss(str(error)) from error
        if frame.token != token or frame.kind is not Kind.DATA:
            raise LogGap(f"{key}: trimmed during the replay")
        yield Replayed(sequence, frame.payloads)
