"""Hard negatives of pairs of texts: embed, search, rescore, choose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine._exceptions import InvalidInput
from negmine.integrations._embeddings import Embedding, rescored
from negmine.integrations._pairs import Pairs
from negmine.integrations._rules import Mined, Rules, choose
from negmine.integrations._search import Place


def mine(
    pairs: Pairs, model: Any, cross_encoder: Any, rules: Rules, embedding: Embedding, place: Place, *, step: int = 0
) -> Mined:
    """Negatives as sentence-transformers would choose them, from candidates that the server finds.

    The cross-encoder scores what the model finds, and only where a rule reads scores, as there.

    Raises:
        InvalidInput: the model's similarity is none whose order unit vectors' cosines have.
    """
    similarity = model.similarity_fn_name
    if similarity not in {"cosine", "dot", "euclidean"}:
        raise InvalidInput(f"the model compares by {similarity!r}; expected cosine, dot or euclidean", field="model")
    wanted = rules.ranks(pairs.positives_max, rescored=cross_encoder is not None) + pairs.positives_max
    queries, corpus = embedding.embed(model, pairs)
    ids, scores = place.nearest(queries, corpus, wanted, step=step)
    if cross_encoder is not None and rules.reads_scores:
        scores, positive_scores = rescored(cross_encoder, embedding, pairs, ids, scores)
    else:
        if similarity == "euclidean":
            scores = _distances(scores)
        both = model.similarity_pairwise(queries[pairs.query_rows], corpus[pairs.positive_rows])
        positive_scores = np.asarray(both.cpu(), np.float32)
    return choose(rules, pairs, ids, scores, positive_scores)


def _distances(cosines: NDArray[np.float32]) -> NDArray[np.float32]:
    """The negated distances of unit vectors by their cosines; -inf stays."""
    return np.where(np.isneginf(cosines), cosines, -np.sqrt(np.maximum(2 - 2 * cosines, 0)))
