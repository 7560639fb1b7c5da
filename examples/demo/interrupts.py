"""Signals that end a program, as an exception: so that every `with` block on the way out cleans up."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked the program to end. `exit_code` is what a shell expects then."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Interrupts:
    """From the main thread: while entered, the first ending signal raises Interrupted; later ones change nothing.

    They change nothing after the block either: an impatient second Ctrl-C does not break what the first one began.
    """

    def __init__(self) -> None:
        self._held = 0
        self._waiting: int | None = None
        self._over = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._arrive) for number in ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        if not self._over:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """A block that no signal breaks; one that arrives in it raises Interrupted at its end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held and self._waiting is not None:
            number, self._waiting = self._waiting, None
            raise Interrupted(number)

    def _arrive(self, number: int, _frame: object) -> None:
        if self._over:
            return
        self._over = True
        if self._held:
            self._waiting = number
            return
        raise Interrupted(number)
