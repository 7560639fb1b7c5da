"""The rows that benchmarks send: WordNet's glosses where NEGMINE_DATA has them, else synthetic ones of that shape."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import negmine
import numpy as np
from numpy.typing import NDArray

GLOSSES = 117_659
DIMENSION = 384
CLUSTERS = 2_000
FILE = "wordnet_minilm_int8.npz"


@dataclass(frozen=True)
class Rows:
    """n rows with their source's name."""

    data: str
    ids: NDArray[np.int64]  # [n]
    embeddings: NDArray[np.float32]  # [n, 384]
    groups: NDArray[np.int64]  # [n]

    def __len__(self) -> int:
        return len(self.ids)


def glosses(scale: float) -> Rows:
    """The glosses, or the first `scale` of them."""
    n = int(GLOSSES * scale)
    ids = np.arange(n, dtype=np.int64)
    path = Path(os.environ.get("NEGMINE_DATA", ".")) / FILE
    if path.is_file():
        with np.load(path) as file:
            rows = file["gloss"][:n].astype(np.float32) * file["gloss_scale"][:n].reshape(-1, 1).astype(np.float32)
            return Rows("WordNet glosses, MiniLM", ids, rows, file["label"][:n].astype(np.int64))
    random = np.random.default_rng(0)
    groups = random.integers(0, CLUSTERS, n)
    centres = random.standard_normal((CLUSTERS, DIMENSION), np.float32)
    rows = centres[groups] + 1.5 * random.standard_normal((n, DIMENSION), np.float32)
    return Rows("synthetic clusters", ids, rows, groups)


def pairs(scale: float) -> tuple[NDArray[np.float32], NDArray[np.float32], str]:
    """Anchors and their positives, row by row, of unit length: lemmas and glosses where they are there; their name."""
    rows = glosses(scale)
    path = Path(os.environ.get("NEGMINE_DATA", ".")) / FILE
    if path.is_file():
        with np.load(path) as file:
            lemmas = file["lemma"][: len(rows)].astype(np.float32)
        return units(lemmas), units(rows.embeddings), "WordNet lemmas and glosses, MiniLM"
    noise = np.random.default_rng(1).standard_normal(rows.embeddings.shape, np.float32)
    return units(rows.embeddings + noise), units(rows.embeddings), rows.data


def units(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def upsert_codes(collection: negmine.Collection, n: int, batch_rows: int = 50_000) -> None:
    """Fills a collection with n random codes of its encoder and groups, as a client does that encodes by itself."""
    encoder = collection.encoder()
    with collection.writer(batch_rows=batch_rows) as writer:
        for first in range(0, n, batch_rows):
            ids = np.arange(first, min(first + batch_rows, n), dtype=np.int64)
            writer.send(ids, random_codes(ids, encoder), step=first, groups=ids % 1000)


def random_codes(ids: NDArray[np.int64], encoder: negmine.Encoder) -> negmine.Codes:
    """Codes that follow from the ids, so that they can be checked."""
    random = np.random.default_rng(int(ids[0]))
    words = random.integers(0, 2**64, (len(ids), encoder.words), np.uint64)
    ones = np.ones(len(ids), np.float32)
    return negmine.Codes(words, ones / 16, ones, encoder.fingerprint)


def check_codes(collection: negmine.Collection, n: int, batch_rows: int = 50_000) -> None:
    """Raises where the first or last batch of `upsert_codes` is not what was sent, or rows are missing."""
    rows = collection.info().rows
    if rows != n:
        raise AssertionError(f"{rows} rows are there, {n} were sent")
    for first in {0, (n - 1) // batch_rows * batch_rows}:
        ids = np.arange(first, min(first + batch_rows, n), dtype=np.int64)
        found = collection.fetch(ids, codes=True)
        sent = random_codes(ids, collection.encoder())
        assert found.found.all(), "rows are missing"
        assert found.codes is not None
        np.testing.assert_array_equal(found.codes.words, sent.words)
        np.testing.assert_array_equal(found.groups, ids % 1000)
