"""The block of numbers and addresses that every kernel of a search reads: `search.cuh` as a numpy record."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import numpy as np

TILE_ROWS = 256
ROUNDS_MAX = 64
SOURCE = Path(__file__).parent

_NUMBERS = {"int": np.int32, "u32": np.uint32, "float": np.float32}
_STRUCT = re.compile(r"struct Search \{(.*?)\n\};", re.DOTALL)
_FIELD = re.compile(r"^\s*(?:const )?(\w+)(\*?) ([\w, ]+);", re.MULTILINE)


class ScoringCode(IntEnum):
    """`Scoring` of the kernels."""

    SYMMETRIC = 0
    ASYMMETRIC = 1
    FLOAT = 2


class StoreCode(IntEnum):
    """`Store` of the kernels."""

    NONE = 0
    INT8 = 1
    FLOAT16 = 2
    FLOAT32 = 3


class Overflow(IntEnum):
    """Why a round is to be done again in parts."""

    UNITS = 1
    CANDIDATES = 2


def _layout() -> np.dtype[np.void]:
    """Reads the struct's fields where they are written, so that there is one list of them."""
    found = _STRUCT.search((SOURCE / "search.cuh").read_text(encoding="utf-8"))
    assert found is not None, "search.cuh has a struct Search"
    fields = [
        (name.strip(), np.uint64 if pointer else _NUMBERS[kind])
        for kind, pointer, names in _FIELD.findall(found[1])
        for name in names.split(",")
    ]
    return np.dtype(fields, align=True)


SEARCH = _layout()
ROUND = np.dtype([("first", np.int32), ("last", np.int32)])
WORK = np.dtype([("tile", np.int32), ("first_slot", np.int32), ("slots", np.int32), ("unused", np.int32)])
