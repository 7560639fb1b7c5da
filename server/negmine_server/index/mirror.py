"""What the rows tell a copy of themselves that is searched elsewhere, on a device.

A mirror belongs to the one writer of the rows, but for `admit` and `bytes`. It never raises in the middle of a batch:
the batch is durable by then, and the rows here are the truth. A mirror that cannot follow says so by publishing None,
and searches look here again.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from negmine_server.domain import I64, U64
from negmine_server.index.pages import Allocate


class Mirror(Protocol):
    """A copy of the rows by the same row numbers. What is written and killed shows with the view published next."""

    @property
    def allocate_vectors(self) -> Allocate | None:
        """Makes the arrays of stored vectors, where the mirror reads them in place; never raises for it."""
        ...

    @property
    def bytes(self) -> int:
        """Taken elsewhere; may be asked by any thread."""
        ...

    def admit(self, rows: int, pages: int, names: frozenset[str]) -> None:
        """Raises DeviceFull where `rows` more rows with these optional columns, and new pages, may find no room.

        May be asked by any thread.
        """
        ...

    def open_page(self, slot: int) -> None:
        """A page is there, without rows."""
        ...

    def close_page(self, slot: int) -> None:
        """A page is gone, for the view that is published next."""
        ...

    def write(self, rows: I64, items: dict[str, NDArray[Any]]) -> None:
        """Rows [n], dead or untouched before, have item-major columns. The arrays stay as they are until `publish`."""
        ...

    def kill(self, rows: I64) -> None:
        """Rows [n] die."""
        ...

    def renumber(self, epoch: int) -> None:
        """What was written and killed shows at this epoch, the last: all that is alive is now there since epoch 1."""
        ...

    def publish(self, epoch: int, vectors: U64) -> object | None:
        """What a view of this epoch needs to be searched there; None = it cannot be.

        Args:
            epoch: of the view.
            vectors: addresses [P] of the pages' stored vectors here, 0 = none.
        """
        ...


class NoMirror:
    """Rows that are searched here alone."""

    allocate_vectors: Allocate | None = None
    bytes = 0

    def admit(self, rows: int, pages: int, names: frozenset[str]) -> None:
        """There is room."""

    def open_page(self, slot: int) -> None:
        """Nothing."""

    close_page = open_page

    def write(self, rows: I64, items: dict[str, NDArray[Any]]) -> None:
        """Nothing."""

    def kill(self, rows: I64) -> None:
        """Nothing."""

    def renumber(self, epoch: int) -> None:
        """Nothing."""

    def publish(self, epoch: int, vectors: U64) -> None:
        """Nothing."""
