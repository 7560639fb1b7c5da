"""Files for the command to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def write_parquet(path: Path, **columns: Any) -> Path:
    """A Parquet file; matrices become lists."""
    held = {name: list(value) if getattr(value, "ndim", 1) == 2 else value for name, value in columns.items()}
    pq.write_table(pa.table(held), path)
    return path


def write_lines(path: Path, *rows: dict[str, Any]) -> Path:
    """A JSON-lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
