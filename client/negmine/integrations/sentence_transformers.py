"""sentence-transformers: its hard-negative mining with a negmine server as the index, and re-mining while it trains.

Needs the extra `sentence-transformers`.

    from negmine.integrations.sentence_transformers import mine_hard_negatives

    triplets = mine_hard_negatives(dataset, model, relative_margin=0.05, num_negatives=5)
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from negmine._client import Client
from negmine._collection import Collection
from negmine._exceptions import InvalidInput
from negmine._models import ScoringName, VectorStoreName
from negmine.integrations import _extras

with _extras.needs("sentence-transformers"):
    import datasets

    from negmine.integrations._remining import RemineCallback

from negmine.integrations._embeddings import Embedding
from negmine.integrations._formats import FORMATS, columns_of
from negmine.integrations._mining import mine
from negmine.integrations._pairs import pair_columns, read_pairs
from negmine.integrations._reports import report
from negmine.integrations._rules import Rules
from negmine.integrations._search import Place

__all__ = ["RemineCallback", "mine_hard_negatives"]

logger = logging.getLogger("negmine")


def mine_hard_negatives(
    dataset: datasets.Dataset, model: Any,
    anchor_column_name: str | None = None, positive_column_name: str | None = None,
    corpus: Sequence[str] | None = None, cross_encoder: Any = None,
    range_min: int = 0, range_max: int | None = None, max_score: float | None = None, min_score: float | None = None,
    absolute_margin: float | None = None, relative_margin: float | None = None,
    num_negatives: int = 3, sampling_strategy: Literal["random", "top"] = "top",
    query_prompt_name: str | None = None, query_prompt: str | None = None,
    corpus_prompt_name: str | None = None, corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: Literal["triplet", "n-tuple", "labeled-pair", "labeled-list"] = "triplet",
    output_scores: bool = False, batch_size: int = 32, faiss_batch_size: int = 16384, use_faiss: bool = False,
    use_multi_process: list[str] | bool = False, verbose: bool = True, cache_folder: str | None = None,
    as_triplets: bool | None = None, margin: float | None = None,
    *,
    client: Client | None = None, collection: Collection | None = None, bits: int = 256,
    vectors: VectorStoreName = "float32", scoring: ScoringName = "float", seed: int | None = None,
) -> datasets.Dataset:  # fmt: skip
    """`sentence_transformers.util.mine_hard_negatives`, with a server as the index; read there what its parameters do.

    With the defaults the negatives are the same: every row is scored by its vector. `use_faiss` and `faiss_batch_size`
    choose nothing here. What `verbose` prints there is logged here, by the logger "negmine".

    Args:
        client: of the server; None = `Client()`, on this host.
        collection: to put the corpus in, row i as id i, and to keep; it may hold nothing else. None = one that is
            dropped afterwards.
        bits: of that one's codes; only other scorings than "float" read them.
        vectors: that one's stored vectors.
        scoring: "float", or another of `MineOptions`: fast in a large corpus, and approximate.
        seed: of the sampling "random"; None = Python's `random` as it stands, as there.

    Raises:
        InvalidInput: an argument is out of range; a ValueError too.
        NegmineError: the server failed.
    """
    if len(dataset) == 0:
        raise InvalidInput("the dataset is empty", field="dataset")
    if faiss_batch_size <= 0:
        raise InvalidInput(f"faiss_batch_size is {faiss_batch_size}; expected at least 1", field="faiss_batch_size")
    output_format, output_scores = _format(output_format, output_scores, as_triplets, include_positives)
    if margin is not None:
        logger.warning("`margin` is deprecated; taken as absolute_margin=%s", margin)
        absolute_margin = margin
    rules = Rules(
        range_min, range_max, max_score, min_score, absolute_margin, relative_margin,
        num_negatives, sampling_strategy, include_positives, seed,
    )  # fmt: skip
    embedding = Embedding(
        query_prompt_name, query_prompt, corpus_prompt_name, corpus_prompt,
        batch_size, use_multi_process, verbose, cache_folder,
    )  # fmt: skip
    anchor, positive = pair_columns(dataset.column_names, anchor_column_name, positive_column_name)
    pairs = read_pairs(list(dataset[anchor]), list(dataset[positive]), corpus)
    place = Place(collection, client, bits, vectors, scoring)
    mined = mine(pairs, model, cross_encoder, rules, embedding, place)
    found = columns_of(mined, output_format, anchor, positive, scores=output_scores)
    if verbose:
        report(mined)
    return datasets.Dataset.from_dict(found)


def _format(
    output_format: Any, output_scores: bool, as_triplets: bool | None, include_positives: bool
) -> tuple[Any, bool]:
    """The output format and whether scores are in it, with deprecated spellings understood.

    Raises:
        InvalidInput: an unknown format.
    """
    if as_triplets is not None:
        output_format = "triplet" if as_triplets else "n-tuple"
        logger.warning("`as_triplets` is deprecated; taken as output_format=%r", output_format)
    if include_positives and output_format != "n-tuple":
        logger.warning("include_positives: output_format is taken as 'n-tuple', which keeps the order of ranks")
        output_format = "n-tuple"
    if output_format == "n-tuple-scores":
        logger.warning("output_format='n-tuple-scores' is deprecated; taken as 'n-tuple' with output_scores=True")
        output_format, output_scores = "n-tuple", True
    if output_format not in FORMATS:
        raise InvalidInput(
            f"output_format is {output_format!r}; expected one of {', '.join(FORMATS)}", field="output_format"
        )
    return output_format, output_scores
