"""The blocking client."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from negmine import _calls, _channel, _joins, _requests
from negmine._calls import Call
from negmine._collection import Collection
from negmine._mining import PARTS_IN_FLIGHT, MinePipeline
from negmine._models import CollectionInfo, EstimateMean, Limits, MetricName, ServerInfo, VectorStoreName
from negmine._options import MineArgs
from negmine._results import Negatives
from negmine._settings import MIB, TLS, Retry, Settings, make_settings

R = TypeVar("R")


class Client:
    """A connection to a negmine server.

    The channel is opened by the first call, in each process of its own: a client may be created before a fork, used in
    DataLoader workers, and pickled (as its settings). Safe to share between threads.

    Args:
        target: host:port (7654 where it names none), or any target that gRPC knows.
        timeout_s: deadline of every call that is given no other.
        tls: an encrypted connection; None = plain.
        token: sent as `authorization: Bearer …`.
        metadata: sent with every call.
        retry: how calls are repeated that the server could not answer.
        message_bytes_max: largest message, either way; larger calls are sent in parts.

    Raises:
        InvalidInput: an argument is out of range.
    """

    def __init__(
        self,
        target: str = "localhost:7654",
        *,
        timeout_s: float = 30.0,
        tls: TLS | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        retry: Retry | None = None,
        message_bytes_max: int = 64 * MIB,
    ) -> None:
        self._bind(make_settings(target, timeout_s, tls, token, metadata, retry, message_bytes_max))

    def _bind(self, settings: Settings) -> None:
        self.settings = settings
        self._connections = _channel.Connections(settings)

    def __repr__(self) -> str:
        return f"Client({self.settings.target!r})"

    def __getstate__(self) -> Settings:
        return self.settings

    def __setstate__(self, settings: Settings) -> None:
        self._bind(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes this process's channel; calls under way are cancelled and later ones raise ClientClosed."""
        self._connections.close()

    def wait_until_ready(self, timeout_s: float | None = None) -> ServerInfo:
        """Waits for a server that is starting, and returns what it is.

        Raises:
            DeadlineExceeded: it did not answer in time.
        """
        return self._run(_calls.server_info(), timeout_s, wait=True)

    def create_collection(
        self,
        name: str,
        dimension: int,
        *,
        bits: int = 256,
        metric: MetricName = "cosine",
        vectors: VectorStoreName = "none",
        seed: int = 0,
        mean: Any | EstimateMean | None = None,
        shards: int = 0,
        recall_target: float | None = None,
        exist_ok: bool = False,
    ) -> Collection:
        """Creates an empty collection.

        Args:
            name: 1 to 64 characters of a-z, A-Z, 0-9, '_', '-', '.', beginning with a letter or digit.
            dimension: length of the embeddings, 1 to 8192.
            bits: of a code, a multiple of 64 from 64 to 4096.
            metric: "cosine" or "inner_product".
            vectors: kept beside the codes, for rescoring and exact scores: "none", "int8", "float16" or "float32".
            seed: of the encoder's rotation.
            mean: subtracted before encoding: None = zero, float [dimension], or EstimateMean(rows).
            shards: a power of two; 0 = the server's choice.
            recall_target: share of the exact answer that a search is to find where its request names none, in (0, 1];
                None = the server's default. See `MineOptions`.
            exist_ok: succeed where a collection of this name and the same settings exists.

        Raises:
            AlreadyExists: the name is taken; with `exist_ok`, by a collection of other settings.
        """
        self._run(
            _calls.create_collection(
                name, dimension, bits, metric, vectors, seed, mean, shards, recall_target, exist_ok=exist_ok
            )
        )
        return self.collection(name)

    def collection(self, name: str) -> Collection:
        """A handle of a collection or alias; costs no call and does not check that it exists."""
        return Collection(self, name)

    def list_collections(self) -> list[CollectionInfo]:
        """Collections, by name."""
        return self._run(_calls.list_collections())

    def list_aliases(self) -> dict[str, str]:
        """Aliases and the collections that they point at."""
        return self._run(_calls.list_aliases())

    def get(self, name: str) -> CollectionInfo:
        """Describes a collection, by its name or an alias."""
        return self._run(_calls.get_collection(name))

    def drop_collection(self, name: str) -> None:
        """Drops a collection and what is stored of it. Refused while an alias names it."""
        self._run(_calls.drop_collection(name))

    def set_alias(self, alias: str, collection: str) -> str | None:
        """Points an alias at a collection, atomically; returns the one it pointed at before."""
        return self._run(_calls.set_alias(alias, collection))

    def drop_alias(self, alias: str) -> None:
        """Removes an alias."""
        self._run(_calls.drop_alias(alias))

    def server_info(self) -> ServerInfo:
        """Version, limits and features of the server."""
        return self._run(_calls.server_info())

    def _run(self, call: Call[R], timeout_s: float | None = None, *, wait: bool = False) -> R:
        return self._connections.current().run(call, timeout_s, wait=wait)

    def _limits(self) -> Limits:
        return self._connections.current().server().limits

    def _mine(self, collection: str, args: MineArgs) -> Negatives:
        connection = self._connections.current()
        plan = _requests.plan(collection, args)
        cuts = plan.parts(connection.server())
        if len(cuts) > 1:
            return next(iter(MinePipeline(connection, collection, [args], PARTS_IN_FLIGHT)))
        return _joins.join(plan, [connection.run(plan.call(cuts[0]), plan.timeout_s)])
