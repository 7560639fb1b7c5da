"""The processes that train together: which one this is, and how all of them come to know the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from negmine._exceptions import Aborted

T = TypeVar("T")


class Ranks(Protocol):
    """What the loop needs of distributed training; `TorchRanks` has it of torch.distributed."""

    @property
    def rank(self) -> int:
        """Of this process, from 0."""

    @property
    def count(self) -> int:
        """Processes that train together."""

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order, on every rank; waits until every rank has called it."""


class Alone:
    """One process."""

    rank = 0
    count = 1

    def gather(self, value: T) -> list[T]:
        """Its own value."""
        return [value]


class TorchRanks:
    """The ranks of torch.distributed, which has been initialised.

    Args:
        group: a process group; the default one unless set. Values travel pickled, as tensors of bytes on the device of
            the group's backend: a group of gloo keeps them off the GPUs.
    """

    def __init__(self, group: Any = None) -> None:
        import torch.distributed  # noqa: PLC0415 (the client does without torch)

        self._distributed = torch.distributed
        self._group = group
        self.rank: int = torch.distributed.get_rank(group)
        self.count: int = torch.distributed.get_world_size(group)

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, on every rank."""
        values: list[Any] = [None] * self.count
        self._distributed.all_gather_object(values, value, group=self._group)
        return values


def together(ranks: Ranks, work: Callable[[], T]) -> list[T]:
    """The results of every rank's work, in the order of ranks, on every rank.

    Where the work of one rank fails, no rank is left waiting for it: that one raises its error, the others raise
    Aborted with its text.
    """
    failure: Exception | None = None
    result: T | None = None
    try:
        result = work()
    except Exception as error:  # noqa: BLE001 (raised below, once the other ranks know)
        failure = error
    said = None if failure is None else f"{type(failure).__name__}: {failure}"
    parts = ranks.gather((said, result))
    if failure is not None:
        raise failure
    for rank, (problem, _) in enumerate(parts):
        if problem is not None:
            raise Aborted(f"rank {rank} of {ranks.count} failed: {problem}", reason="RANK_FAILED")
    return [part for _, part in parts]  # type: ignore[misc]
