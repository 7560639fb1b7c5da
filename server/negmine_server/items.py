"""Items on their way into a collection, and out of it by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from negmine.encoder import Codes
from numpy.typing import NDArray

from negmine_server.domain import F32, I64, U64, Bool, Watermark


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """One upsert batch as it arrived; ids are unique."""

    ids: I64  # [n]
    embeddings: F32 | None  # [n, d]
    lengths: F32 | None  # [n], of the embeddings
    codes: Codes | None
    fingerprint: str  # with codes
    groups: I64 | None
    tags: U64 | None
    uncertainties: F32 | None
    generation: int | None  # None = the current one
    step: int
    writer: str
    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """Items by id: the columns hold the found ones, in order; a name that no item has is not there."""

    found: Bool  # [n]
    columns: dict[str, NDArray[Any]]
    vectors: F32 | None
    watermark: Watermark
