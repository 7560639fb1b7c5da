"""Keys of the log's objects, and its trim marks.

Deleting objects opens slots again, and put-if-absent alone would let a paused process create in one of
them. So a trim first creates a *mark* `prefix/trim/<through>` that names who owned the log just after `through` and
which ranges stay for ever; a takeover starts its walk there, and looks at the marks again once its fence stands: an
unchanged mark proves that no slot it looked at was opened meanwhile, the fence's own included. A changed one sends it
back to the start, or to a newer snapshot (LogGap).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from negmine_server.errors import DataLoss
from negmine_server.storage.objects import Exists, Missing, Objects
from negmine_server.storage.records import Kind, Unreadable, decode_frame, encode_frame

_MARKS_KEPT = 2  # so that a listing during a trim always meets one


@dataclass(frozen=True, slots=True)
class Mark:
    """A trim mark: slots up to `through` are gone, except the `kept` zones (first, fill)."""

    through: int = 0
    owner: bytes | None = None  # of slot through + 1, unless a fence is there; None = no log yet
    kept: tuple[tuple[int, int], ...] = ()

    def frame(self) -> bytes:
        assert self.owner is not None
        return b"".join(encode_frame(Kind.TRIM, self.through, self.owner, [json.dumps({"kept": self.kept}).encode()]))


def log_key(prefix: str, sequence: int) -> str:
    return f"{prefix}/log/{sequence:020d}"


def mark_key(prefix: str, through: int) -> str:
    return f"{prefix}/trim/{through:020d}"


def sequence_of(key: str) -> int:
    try:
        return int(key.rpartition("/")[2])
    except ValueError:
        raise DataLoss(f"{key}: expected a sequence number as the last part of the key") from None


def create_or_read(objects: Objects, key: str, data: bytes) -> bytes | None:
    """Puts `data` if absent. None when it is there, by us, else what is there (empty when it was trimmed since)."""
    try:
        objects.create(key, data)
        return None
    except Exists:
        pass
    try:
        found = objects.get(key)
    except Missing:
        return b""
    return None if found == data else found  # the same bytes carry our token: the reply to our create was lost


def newest_mark(objects: Objects, prefix: str) -> Mark:
    """Raises DataLoss when it is unreadable."""
    infos = objects.list(f"{prefix}/trim/")
    for info in reversed(infos):
        try:
            frame = decode_frame(objects.get(info.key), info.key)
            kept = json.loads(bytes(frame.payloads[0]))["kept"]
            return Mark(frame.sequence, frame.token, tuple((first, fill) for first, fill in kept))
        except Missing:  # replaced since
            return newest_mark(objects, prefix)
        except (Unreadable, ValueError, KeyError, IndexError) as error:
            raise DataLoss(f"{info.key}: the trim mark is unreadable: {error}") from error
    return Mark()


def place_mark(objects: Objects, prefix: str, mark: Mark) -> None:
    create_or_read(objects, mark_key(prefix, mark.through), mark.frame())
    keys = [info.key for info in objects.list(f"{prefix}/trim/")]
    objects.delete(keys[:-_MARKS_KEPT])
