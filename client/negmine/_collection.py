"""A handle of one collection: items in, negatives out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Unpack

from negmine import _calls, _explain, _upserts
from negmine._encoding import Encoder
from negmine._explain import Explanation
from negmine._mining import MinePipeline
from negmine._models import CollectionInfo, Stats
from negmine._options import MineArgs, MineOptions
from negmine._results import DeleteResult, Fetched, Negatives, Snapshot, UpsertResult, Watermark
from negmine._writer import Writer

if TYPE_CHECKING:
    from negmine._client import Client


class Collection:
    """One collection or alias, by name. Made by `Client.collection`; making it costs no call.

    Safe to share between threads, to fork and to pickle. Every method raises the errors of `negmine` that the server
    answers with: NotFound, NotReady, Unavailable, DeadlineExceeded and so on.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"Collection({self.name!r}, {self._client!r})"

    def mine(self, anchors: Any, k: int, **options: Unpack[MineOptions]) -> Negatives:
        """Mines k hard negatives for each of B anchors.

        Args:
            anchors: embeddings [B, d] in float32, float16, bfloat16 or float64 (numpy or torch; the answer's arrays are
                of the same kind and on the same device), or Codes.
            k: negatives wanted per anchor.
            **options: as in `MineOptions`.

        Returns:
            Negatives of B anchors. Calls beyond the limits of a message or the server are sent in parts and joined.

        Raises:
            InvalidInput: an argument is wrong; the message names the value.
            IncarnationMismatch: `min_watermark` is of another collection.
        """
        return self._client._mine(self.name, MineArgs(anchors=anchors, k=k, **options))

    def mine_stream(self, batches: Iterable[MineArgs], *, window: int = 4) -> Iterator[Negatives]:
        """Mines many batches with up to `window` on their way; answers come in the order of `batches`.

        `batches` is read on the caller's thread, a window ahead. An error is raised in the place of the batch it
        belongs to, and ends the iteration.
        """
        return iter(self._pipeline(batches, window))

    def explain(self, anchors: Any, k: int, *, candidates: int = 64, **options: Unpack[MineOptions]) -> Explanation:
        """Mines as `mine` does, and says what became of each anchor's nearest items: for looking at, not for training.

        Args:
            anchors: as of `mine`.
            k: negatives wanted per anchor.
            candidates: items looked at per anchor, whatever excludes them; from 1 to the server's pool_max.
            **options: as in `MineOptions`.

        Raises:
            InvalidInput: an argument is wrong; the message names the value.
        """
        plan = _explain.plan(self.name, MineArgs(anchors=anchors, k=k, **options), candidates)
        connection = self._client._connections.current()
        calls = plan.calls(connection.server())
        return plan.join([connection.run(call, plan.mining.timeout_s) for call in calls])

    def _pipeline(self, batches: Iterable[MineArgs], window: int) -> MinePipeline:
        return MinePipeline(self._client._connections.current(), self.name, batches, window)

    def upsert(
        self,
        ids: Any,
        items: Any,
        *,
        step: int = 0,
        generation: int | None = None,
        groups: Any = None,
        tags: Any = None,
        uncertainties: Any = None,
        batch_rows: int | None = None,
        on_ack: Callable[[UpsertResult], object] | None = None,
        timeout_s: float | None = None,
    ) -> UpsertResult:
        """Puts n items in, and returns when they are durable and visible to every later `mine`.

        Args:
            ids: int [n], >= 0, unique.
            items: embeddings [n, d] in float32, float16, bfloat16 or float64, or Codes.
            step: model step that made the embeddings; an item already there with a higher version stays.
            generation: attempt of the training run; the collection's current one unless set.
            groups: int [n], -1 = none.
            tags: uint64 [n] or one value: tag bits.
            uncertainties: float [n], NaN = none.
            batch_rows: rows a message; by size unless set.
            on_ack: called on a thread of the writer after every ack, with the result so far.
            timeout_s: longest time without any ack; the client's timeout unless set.

        Raises:
            NegmineError: with `progress`, which says how many rows are in.
        """
        with self.writer(batch_rows=batch_rows, on_ack=on_ack, timeout_s=timeout_s) as writer:
            writer.send(
                ids, items, step=step, generation=generation, groups=groups, tags=tags, uncertainties=uncertainties
            )
            return writer.flush()

    def writer(
        self,
        *,
        window: int = _upserts.WINDOW,
        batch_rows: int | None = None,
        on_ack: Callable[[UpsertResult], object] | None = None,
        timeout_s: float | None = None,
    ) -> Writer:
        """A stream for a trainer that pushes every step, as a context manager; see `Writer`."""
        plan = _upserts.Plan(self.name, window=window, batch_rows=batch_rows)
        return Writer(self._client, plan, on_ack=on_ack, timeout_s=timeout_s)

    def delete(
        self, ids: Any, *, step: int | None = None, generation: int | None = None, timeout_s: float | None = None
    ) -> DeleteResult:
        """Deletes items by id; unknown ids are remembered as deleted too.

        Args:
            ids: int [n], >= 0, unique.
            step: of the delete: an item with a higher version stays; the collection's newest version unless set.
            generation: of the delete, with `step`; the current one unless set.
            timeout_s: deadline of each call.
        """
        calls = _calls.delete(self.name, ids, step, generation, self._client._limits())
        return _calls.join_deletes([self._client._run(call, timeout_s) for call in calls])

    def fetch(
        self,
        ids: Any,
        *,
        codes: bool = False,
        embeddings: bool = False,
        min_watermark: Watermark | None = None,
        timeout_s: float | None = None,
    ) -> Fetched:
        """Reads items [n] by id, with their codes or stored embeddings where asked."""
        calls = _calls.fetch(self.name, ids, codes, embeddings, min_watermark, self._client._limits())
        return _calls.join_fetches([self._client._run(call, timeout_s) for call in calls])

    def info(self) -> CollectionInfo:
        """What it is, and its state."""
        return self._client._run(_calls.get_collection(self.name))

    def stats(self, *, timeout_s: float | None = None) -> Stats:
        """Counts, sizes and balance."""
        return self._client._run(_calls.stats(self.name), timeout_s)

    def snapshot(self, *, timeout_s: float | None = None) -> Snapshot:
        """Writes a snapshot of every shard and trims the logs behind it."""
        return self._client._run(_calls.snapshot(self.name), timeout_s)

    def start_generation(self, generation: int | None = None) -> int:
        """Begins another attempt of the training run and returns its number.

        Args:
            generation: where set, nothing happens if it is the current one already, so that every trainer of a run may
                ask for the same; unset, every call raises the generation by one.
        """
        return self._client._run(_calls.start_generation(self.name, generation))

    def encoder(self) -> Encoder:
        """The collection's encoder, checked by its fingerprint.

        Raises:
            NotReady: it is not frozen yet.
            FingerprintMismatch: this version of the SDK would make other codes than the server.
        """
        return _calls.encoder(self.info())

    def drop(self) -> None:
        """Drops the collection and what is stored of it. Refused where an alias names it."""
        self._client._run(_calls.drop_collection(self.name))
