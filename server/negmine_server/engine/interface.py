"""The seam behind which a collection's shards live, here or elsewhere.

Arguments and results are the frozen dataclasses of domain.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Applied, Batch, Bool, Candidates, Query
from negmine_server.errors import NegmineError
from negmine_server.index.partition import Partition
from negmine_server.shard import ShardStats, SnapshotResult


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """A batch on its way: per shard, which of its rows, and the future of what became of them."""

    rows: I64  # places of the shard's rows in the whole batch
    outcome: Future[Applied]


class Engine(Protocol):
    """Where the shards of one collection live.

    `partition` says which bucket a row belongs to; None as long as there are none. Only its rebalancer sets it.
    """

    partition: Partition | None

    @property
    def sequences(self) -> tuple[int, ...]:
        """Per shard, the log sequence up to which everything is visible."""

    @property
    def newest(self) -> int:
        """The newest packed version over all shards."""

    @property
    def highest_bucket(self) -> int:
        """The highest number of a bucket in what was stored of the rows at the start; 0 = none."""

    @property
    def problem(self) -> NegmineError | None:
        """Why a shard applies nothing any more; None while all do."""

    def apply(self, batch: Batch) -> list[Sent]:
        """Splits a batch by id and queues each part in its shard."""

    def search(self, query: Query, r: int, *, rescore: bool) -> Candidates:
        """The best r rows per anchor over all shards."""

    def search_here(self, query: Query, r: int) -> Candidates:
        """As `search`, but in no hurry: on the calling thread alone."""

    def score(self, query: Query, anchors: I64, ids: I64, *, rescore: bool) -> tuple[F32, Bool]:
        """Scores of (anchor, id) pairs, and whether each id is there."""

    def fetch(self, ids: I64, names: frozenset[str] | None = None) -> tuple[Bool, dict[str, NDArray[Any]]]:
        """Whether each id is there, and the columns of those that are: all that any has, or of `names` those."""

    def draw(self, seed: int, low: int, n: int) -> tuple[I64, U64]:
        """Ids and keys of the at most n items with the lowest random keys under a seed, from `low` on, by key."""

    def has(self, column: str) -> bool:
        """Whether items have an optional column, by its name in domain.Batch."""

    @property
    def has_vectors(self) -> bool:
        """Whether vectors are stored beside the codes."""

    def sample(self, bucket: int | None, n: int, seed: int) -> U64:
        """Codes of about n rows of a bucket, of all rows where that is None."""

    def bucket_of(self, ids: I64) -> I64:
        """The number of the bucket that each id is in, -1 where it is not here."""

    def bucket_rows(self) -> dict[int, int]:
        """Live rows by the bucket's number, over all shards; 0 = loose."""

    def bucket_sizes(self) -> list[I64]:
        """Per shard, the live rows of each bucket, empty ones too; a shard without buckets is one. Loose rows apart."""

    def reroute(self, bucket: int, most: int) -> int:
        """Moves rows of a bucket to where the partition routes them, `most` a shard; returns how many it moved."""

    def snapshot(self) -> list[SnapshotResult]:
        """Writes a snapshot of every shard."""

    def stats(self) -> list[ShardStats]:
        """Counts and sizes of every shard."""

    def close(self) -> None:
        """Finishes what is queued."""
