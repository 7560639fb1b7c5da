"""Memory of 1e7 rows of 256 bits with groups, without vectors: a real server, filled over gRPC with codes."""

from __future__ import annotations

import negmine
from harness.corpus import DIMENSION, check_codes, upsert_codes
from harness.result import Result
from harness.server import Server

ROWS = 10_000_000
BITS = 256
TARGET_BYTES = BITS // 8 + 40
RESIDENT_FACTOR = 2


def run(scale: float) -> list[Result]:
    """`memory.bytes_per_row`: by the server's own account; `memory.resident_per_row`: of the whole process."""
    rows = int(ROWS * scale)
    # No snapshots by itself: they would be timed by nobody, and take as much disk again.
    with Server("--snapshot-log-bytes", str(1 << 40)) as server, negmine.Client(server.target) as client:
        empty = server.resident_bytes()
        collection = client.create_collection("bench", DIMENSION, bits=BITS)
        upsert_codes(collection, rows)
        resident = server.resident_bytes()
        kinds: dict[str, int] = {}
        for shard in collection.stats().shards:
            for kind, size in shard.memory_bytes.items():
                kinds[kind] = kinds.get(kind, 0) + size
        check_codes(collection, rows)
    params = {
        "rows": rows,
        "bits": BITS,
        "code_bytes": BITS // 8,
        "empty_server_bytes": empty,
        "resident_bytes": resident,
        "bytes_per_row_by_kind": {kind: size / rows for kind, size in sorted(kinds.items()) if size},
    }
    held = sum(kinds.values()) / rows
    return [
        Result("memory.bytes_per_row", held, "bytes", "lower", TARGET_BYTES, params=params),
        Result(
            "memory.resident_per_row",
            resident / rows,
            "bytes",
            "lower",
            RESIDENT_FACTOR * TARGET_BYTES,
            params=params,
        ),
    ]
