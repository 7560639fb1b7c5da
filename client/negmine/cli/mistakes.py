"""What a command ends with: exit codes, mistakes of the user, and errors of the SDK as one line."""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

import negmine

_OPTIONS: Final = {  # by the names that the server knows them by
    "spec.dimension": "--dimension",
    "spec.bits": "--bits",
    "spec.metric": "--metric",
    "spec.vectors": "--vectors",
    "spec.shards": "--shards",
    "spec.recall_target": "--recall-target",
    "recall_target": "--recall-target",
    "spec.mean.estimate_rows": "--estimate-mean-rows",
    "version.step": "--step",
    "version.generation": "--generation",
    "call StartGeneration first": "call `negmine generation start NAME` (StartGeneration) first",
}
_WIRE: Final = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, _OPTIONS))})(?![\w.]*\w)")


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1  # the server refused, failed, or could not be reached
    USAGE = 2  # wrong options, or a file that cannot be used
    PARTIAL = 3  # done, but not for everything that was asked
    INTERRUPTED = 130  # by Ctrl-C, as shells count it


class Mistake(Exception):
    """Wrong usage or a bad file: one line that names the value and says what to do; exit code 2."""


def one_line(error: negmine.NegmineError, target: str, timeout_s: float) -> str:
    """An SDK error as one line that says what to do next, with options where the server names fields.

    Args:
        error: what was raised.
        target: the server that was asked.
        timeout_s: deadline of the calls.
    """
    message = _WIRE.sub(lambda found: _OPTIONS[found[0]], " ".join(error.message.split()))
    match error:
        case negmine.Overloaded():
            return f"{target} is overloaded: {message}; try again later"
        case negmine.Unavailable() if not isinstance(error, negmine.StorageFailed | negmine.DeviceLost):
            return f"no answer from {target}: {message}; is negmine-server running there? --target names another"
        case negmine.DeadlineExceeded():
            return f"{target} did not finish within {timeout_s:g} s: {message}; raise --timeout"
        case negmine.NotFound():
            return f"{message}; `negmine list` and `negmine alias list` show what {target} has"
        case negmine.Unauthenticated() | negmine.PermissionDenied():
            return f"{target} refused the credentials: {message}; give --token or NEGMINE_TOKEN"
        case negmine.Unimplemented():
            return f"{target} does not serve this: {message}; `negmine info` lists its features"
        case negmine.Internal():
            return f"{target} failed: {message}; its log says more"
        case _:
            return message
