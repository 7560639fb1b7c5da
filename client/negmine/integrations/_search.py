"""Every query's nearest texts, found by a server: in a collection of the caller's, or in one for this alone."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from negmine._client import Client
from negmine._collection import Collection
from negmine._exceptions import InvalidInput, NegmineError
from negmine._models import ScoringName, VectorStoreName
from negmine._options import MineArgs

logger = logging.getLogger("negmine")

ANCHORS_A_CALL: Final = 512  # of a few seconds each where all rows of a large corpus are scored


@dataclass(frozen=True, slots=True)
class Place:
    """Where the corpus is searched; see `mine_hard_negatives`."""

    collection: Collection | None = None
    client: Client | None = None
    bits: int = 256
    vectors: VectorStoreName = "float32"
    scoring: ScoringName = "float"

    @contextmanager
    def open(self, dimension: int) -> Iterator[Collection]:
        """The caller's collection, or a new one that is dropped at the end, however that comes."""
        if self.collection is not None:
            yield self.collection
            return
        with Client() if self.client is None else nullcontext(self.client) as client:
            name = f"mine-hard-negatives-{uuid.uuid4().hex}"
            made = client.create_collection(name, dimension, bits=self.bits, vectors=self.vectors)
            try:
                yield made
            except BaseException:
                _drop_quietly(made)  # what went wrong is what the caller is to see
                raise
            made.drop()

    def nearest(
        self, queries: NDArray[Any], corpus: NDArray[Any], wanted: int, *, step: int = 0
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the corpus [Q, wanted] and their cosines, the most similar first; -1 and -inf where there are fewer.

        Args:
            queries: [Q, d].
            corpus: [C, d]; row i is upserted as id i.
            wanted: candidates per query.
            step: model step of the embeddings.

        Raises:
            InvalidInput: the server returns fewer candidates an anchor than wanted; or the caller's collection holds
                other items, or newer ones.
        """
        with self.open(corpus.shape[1]) as collection:
            limit = collection._client._limits().k_max
            k = min(wanted, len(corpus))
            if limit and k > limit:
                raise InvalidInput(
                    f"range_max and the most positives of a query make {k} candidates; "
                    f"the server returns up to {limit} an anchor (its setting k_max)",
                    field="range_max",
                )
            mark = _fill(collection, corpus, step)
            same = MineArgs(
                anchors=queries[:0], k=k, scoring=self.scoring, exact=True, priority="bulk", min_watermark=mark
            )
            parts = (queries[start : start + ANCHORS_A_CALL] for start in range(0, len(queries), ANCHORS_A_CALL))
            answers = list(collection.mine_stream({**same, "anchors": part} for part in parts))
        missing = ((0, 0), (0, wanted - k))
        ids = np.concatenate([answer.ids for answer in answers])
        scores = np.concatenate([answer.scores for answer in answers])
        scores[ids < 0] = -np.inf
        return np.pad(ids, missing, constant_values=-1), np.pad(scores, missing, constant_values=-np.inf)


def _fill(collection: Collection, corpus: NDArray[Any], step: int) -> Any:
    """Puts the corpus in, and returns the state that holds it and nothing else."""
    done = collection.upsert(np.arange(len(corpus)), corpus, step=step)
    if done.stale:
        raise InvalidInput(
            f"{done.stale} of {len(corpus)} items of {collection} are newer than step {step}; "
            "begin another generation (Collection.start_generation)",
            field="collection",
        )
    if (rows := collection.info().rows) != len(corpus):
        raise InvalidInput(
            f"{collection} holds {rows} items, the corpus {len(corpus)}; expected a collection of this corpus alone",
            field="collection",
        )
    return done.watermark


def _drop_quietly(collection: Collection) -> None:
    try:
        collection.drop()
    except NegmineError as failure:
        logger.warning("%s is left behind: %s", collection, failure)
