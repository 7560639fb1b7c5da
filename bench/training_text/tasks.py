"""Retrieval tasks on WordNet: queries, the glosses they look for, and splits that share no positive."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness.corpus import FILE, units
from numpy.typing import NDArray

HELD_OUT = 2_000  # queries of the test split, and as many of the validation split
SPLIT_SEED = 5
ROWS_MIN = 4_000  # of a corpus made smaller for a trial

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Task:
    """n queries, row by row, over a corpus of N glosses. No positive of one split is a positive of another.

    Attributes:
        queries: float32 [n, 384], of unit length.
        corpus: float32 [N, 384], of unit length.
        positives: int64 [n, p], rows of the corpus, padded with -1.
        own: int64 [n], the row of the corpus that is the query itself, never an answer; -1 = none.
        train, validation, test: int64, rows of `queries`.
    """

    name: str
    queries: F32
    corpus: F32
    positives: I64
    own: I64
    train: I64
    validation: I64
    test: I64


def hypernyms(scale: float) -> Task:
    """A synset's gloss looks for the glosses of its hypernyms; those of the held-out splits are in no training pair."""
    data = _file()
    n = _rows(len(data["gloss"]), scale)
    corpus = _floats(data, "gloss", n)
    edges = data["edges_hyp"].astype(np.int64)
    edges = edges[(edges < n).all(axis=1)]
    edges = edges[np.argsort(edges[:, 0], kind="stable")]
    children, first, counts = np.unique(edges[:, 0], return_index=True, return_counts=True)
    positives = np.full((len(children), counts.max()), -1, np.int64)
    place = np.arange(len(edges)) - np.repeat(first, counts)
    positives[np.repeat(np.arange(len(children)), counts), place] = edges[:, 1]
    return _split("hypernyms", corpus[children], corpus, positives, children)


def lemmas(scale: float) -> Task:
    """A synset's lemmas look for its gloss; the splits share no synset."""
    data = _file()
    n = _rows(len(data["gloss"]), scale)
    rows = np.arange(n, dtype=np.int64)
    return _split("lemmas", _floats(data, "lemma", n), _floats(data, "gloss", n), rows[:, None], np.full(n, -1))


def _split(name: str, queries: F32, corpus: F32, positives: I64, own: I64) -> Task:
    """Positives are dealt out to the splits; a query whose positives fall into several splits is in none."""
    share = min(0.1, 1.3 * HELD_OUT / len(queries))
    draw = np.random.default_rng(SPLIT_SEED).random(len(corpus))
    part = np.where(draw < share, 1, np.where(draw < 2 * share, 2, 0))
    parts = np.where(positives < 0, part[positives[:, :1]], part[positives])
    alone = (parts == parts[:, :1]).all(axis=1)
    rows = [np.flatnonzero(alone & (parts[:, 0] == split)) for split in range(3)]
    order = np.random.default_rng(SPLIT_SEED + 1)
    validation, test = (np.sort(order.permutation(held)[:HELD_OUT]) for held in rows[1:])
    return Task(name, queries, corpus, positives, own.astype(np.int64), rows[0], validation, test)


def place() -> Path:
    """The file of frozen vectors, which need not be there."""
    return Path(os.environ.get("NEGMINE_DATA", ".cache/wordnet")) / FILE


def _file() -> dict[str, NDArray[np.generic]]:
    with np.load(place()) as file:
        return {name: file[name] for name in ("gloss", "gloss_scale", "lemma", "lemma_scale", "edges_hyp")}


def _rows(n: int, scale: float) -> int:
    return n if scale == 1 else max(int(n * scale), ROWS_MIN)


def _floats(data: dict[str, NDArray[np.generic]], name: str, n: int) -> F32:
    return units(data[name][:n].astype(np.float32) * data[f"{name}_scale"][:n, None].astype(np.float32))
