"""What the demo asks the server: mining requests of a corpus, with the protection that its labels allow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import negmine
import numpy as np

from examples.demo.corpus import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from examples.demo.corpus import I64, Corpus

PERCENT_OF_POSITIVE = 0.95  # NV-Retriever's best
MAX_SCORE = 0.9  # where there are no labels
SKIPPED_RANKS = 10
WINDOW_RANKS = 100
ROWS_MIN = 100
BATCH_ANCHORS = 1024


@dataclass(frozen=True, slots=True)
class Change:
    """The same question asked in another way."""

    title: str
    before: str
    after: str
    request: negmine.MineArgs  # the other way


def choose_rows(corpus: Corpus, size: int | None, seed: int = 0) -> I64:
    """`size` rows of the corpus, ascending, the shown anchors among them; None = all.

    Raises:
        CorpusError: the corpus does not hold so many, or they are too few to mine in.
    """
    if size is None:
        return np.arange(corpus.rows, dtype=np.int64)
    if not ROWS_MIN <= size <= corpus.rows:
        raise CorpusError(f"{size} rows were asked for: expected {ROWS_MIN} to {corpus.rows:,}, all of {corpus.name}")
    others = np.setdiff1d(np.arange(corpus.rows, dtype=np.int64), corpus.shown)
    chosen = np.random.default_rng(seed).choice(others, size - len(corpus.shown), replace=False)
    return np.sort(np.concatenate([corpus.shown, chosen]))


def has_positives(corpus: Corpus) -> bool:
    """Whether anything is known to be a positive of anything."""
    return any(len(relation.values) for relation in (corpus.synonyms, corpus.broader, corpus.narrower))


def protected(corpus: Corpus, rows: I64, k: int) -> negmine.MineArgs:
    """Mine for `rows` [B], safe to train on: never a positive by id, nor an item nearly as similar as the nearest one.

    Where a corpus has no positives, items above a fixed score are left out instead.
    """
    args: negmine.MineArgs = {"anchors": corpus.vectors[rows], "k": k, "own_ids": corpus.ids[rows], "exact": True}
    if has_positives(corpus):
        args["positives"] = corpus.positives(rows)
        args["positive_scores"] = corpus.nearest_positives(rows)[1]
        args["protection"] = negmine.Protection(percent_of_positive=PERCENT_OF_POSITIVE)
    else:
        args["protection"] = negmine.Protection(max_score=MAX_SCORE)
    return args


def plain(corpus: Corpus, rows: I64, k: int) -> negmine.MineArgs:
    """Mine for `rows` [B] by the codes alone: sign code against sign code."""
    return {
        "anchors": corpus.vectors[rows],
        "k": k,
        "own_ids": corpus.ids[rows],
        "exact": True,
        "scoring": "symmetric",
        "rescore": False,
    }


def change(corpus: Corpus, rows: I64, request: negmine.MineArgs) -> Change:
    """What a second table compares with: the anchor's group excluded or, without groups, the first ranks skipped."""
    other = request.copy()
    if corpus.label_names:
        other["groups"] = corpus.labels[rows]
        return Change("What excluding the anchor's group changes", "any group", "anchor's group excluded", other)
    other["policy"] = negmine.Window(SKIPPED_RANKS, SKIPPED_RANKS + WINDOW_RANKS)
    first = f"from rank {SKIPPED_RANKS}"
    return Change(f"What skipping the first {SKIPPED_RANKS} ranks changes", "from rank 0", first, other)


def anchor_batches(corpus: Corpus, rows: I64, batches: int, seed: int = 0) -> Iterator[I64]:
    """`batches` batches of random rows out of `rows`, each with a positive where the corpus has any."""
    pool = rows
    if has_positives(corpus):
        related = sum(np.diff(relation.offsets) for relation in (corpus.synonyms, corpus.broader, corpus.narrower))
        pool = rows[np.asarray(related)[rows] > 0]
    random = np.random.default_rng(seed)
    for _ in range(batches):
        yield np.sort(random.choice(pool, min(BATCH_ANCHORS, len(pool)), replace=False))


def random_rows(corpus: Corpus, anchors: I64, rows: I64, seed: int = 0) -> I64:
    """For each of `anchors` [B] one random row out of `rows` that is neither the anchor nor a positive of it."""
    random = np.random.default_rng(seed)
    offsets, positives = corpus.positives(anchors)
    drawn = np.empty(len(anchors), np.int64)
    for at, anchor in enumerate(anchors.tolist()):
        taken = np.append(corpus.rows_of(positives[offsets[at] : offsets[at + 1]]), anchor)
        drawn[at] = random.choice(np.setdiff1d(rows, taken))
    return drawn


def explain(corpus: Corpus) -> str:
    """The protection of `protected`, in words."""
    if has_positives(corpus):
        return (
            "Never returned: the anchor's synonyms, hypernym chain and hyponyms, "
            f"and what scores {PERCENT_OF_POSITIVE:.0%} of the nearest positive or more."
        )
    return f"Without labels there are no positives; what scores above {MAX_SCORE} is never returned."
