"""Which numbered batches of which writer a shard holds, so that a retried one is acked and not applied again."""

from __future__ import annotations

from negmine_server.errors import Aborted


class Writers:
    """The last number applied per writer, for the latest `writers_max` writers.

    A batch that failed after it was handed in (disk full, say) holds back the later ones of its writer: were they
    applied, a retry of the failed one would look like a duplicate and its rows would be lost.
    """

    def __init__(self, writers_max: int) -> None:
        self._writers_max = writers_max
        self._last: dict[str, int] = {}  # oldest first
        self._failed: dict[str, int] = {}  # lowest number that failed and was not resent; forgotten at a restart

    def applied(self, writer: str, number: int) -> bool:
        """Whether the batch was applied before."""
        return bool(writer) and number <= self._last.get(writer, 0)

    def check(self, writer: str, number: int) -> None:
        """Raises Aborted where an earlier batch of this writer failed and was not resent.

        A batch that passes is on its way to the log, where those after it follow it in order.
        """
        failed = self._failed.get(writer)
        if failed is not None and number > failed:
            raise Aborted(f"batch {number} of writer {writer!r} came after batch {failed} failed; resend from {failed}")
        if failed == number:
            del self._failed[writer]

    def record(self, writer: str, number: int) -> None:
        """The batch is applied."""
        if not writer:
            return
        self._last[writer] = max(number, self._last.pop(writer, 0))
        if len(self._last) > self._writers_max:
            del self._last[next(iter(self._last))]
        if self._failed.get(writer, number + 1) <= number:
            del self._failed[writer]

    def fail(self, writer: str, number: int) -> None:
        """The batch was not applied."""
        if writer and not self.applied(writer, number):
            self._failed[writer] = min(number, self._failed.get(writer, number))
            if len(self._failed) > self._writers_max:
                del self._failed[next(iter(self._failed))]

    def state(self) -> dict[str, int]:
        """Last numbers, oldest writer first; for a snapshot."""
        return dict(self._last)

    def restore(self, state: dict[str, int]) -> None:
        """Takes up the state of a snapshot."""
        self._last = dict(state)
