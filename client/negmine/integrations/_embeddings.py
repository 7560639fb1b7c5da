"""The embeddings of queries and corpus, from the model or from sentence-transformers' own cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from negmine.integrations._pairs import Pairs


@dataclass(frozen=True, slots=True)
class Embedding:
    """How texts are embedded: the parameters of the same names of `mine_hard_negatives`."""

    query_prompt_name: str | None = None
    query_prompt: str | None = None
    corpus_prompt_name: str | None = None
    corpus_prompt: str | None = None
    batch_size: int = 32
    use_multi_process: list[str] | bool = False
    verbose: bool = True
    cache_folder: str | None = None

    def embed(self, model: Any, pairs: Pairs) -> tuple[NDArray[Any], NDArray[Any]]:
        """Unit vectors of the queries [Q, d] and of the corpus [C, d]."""
        query_file = self._file(model, "query", self.query_prompt, self.query_prompt_name, pairs.queries)
        corpus_file = self._file(model, "corpus", self.corpus_prompt, self.corpus_prompt_name, pairs.corpus)
        queries, corpus = _load(query_file), _load(corpus_file)
        if queries is not None and corpus is not None:
            return queries, corpus
        pool = _pool(model, self.use_multi_process)
        same = {
            "pool": pool,
            "batch_size": self.batch_size,
            "normalize_embeddings": True,
            "convert_to_numpy": True,
            "show_progress_bar": self.verbose,
        }
        try:
            if corpus is None:
                prompt = {"prompt_name": self.corpus_prompt_name, "prompt": self.corpus_prompt}
                corpus = model.encode_document(pairs.corpus, **same, **prompt)
                _save(corpus_file, corpus)
            if queries is None:
                prompt = {"prompt_name": self.query_prompt_name, "prompt": self.query_prompt}
                queries = model.encode_query(pairs.queries, **same, **prompt)
                _save(query_file, queries)
        finally:
            if pool is not None:
                model.stop_multi_process_pool(pool)
        return queries, corpus

    def _file(
        self, model: Any, kind: str, prompt: str | None, prompt_name: str | None, texts: list[str]
    ) -> Path | None:
        """Where sentence-transformers 6 would cache them, so that a cache serves both."""
        if not self.cache_folder:
            return None
        name = model.model_card_data.base_model or ""
        what = repr((name, prompt, prompt_name, texts)).encode()
        digest = hashlib.sha256(what, usedforsecurity=False).hexdigest()
        return Path(self.cache_folder) / f"{kind}_embeddings_{digest}.npy"


def rescored(
    cross_encoder: Any, embedding: Embedding, pairs: Pairs, ids: NDArray[np.int64], scores: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A cross-encoder's scores of the candidates [Q, R], -inf where there are fewer, and of the pairs [P]."""
    pool = _pool(cross_encoder, embedding.use_multi_process)

    def predict(texts: list[tuple[str, str]]) -> NDArray[np.float32]:
        predicted = cross_encoder.predict(texts, batch_size=embedding.batch_size, pool=pool, show_progress_bar=False)
        return np.asarray(predicted, np.float32)

    try:
        fresh = scores.copy()
        for row, query in enumerate(pairs.queries):
            there = ids[row] >= 0
            fresh[row, there] = predict([(query, pairs.corpus[one]) for one in ids[row, there]])
        both = zip(pairs.query_rows, pairs.positive_rows, strict=True)
        return fresh, predict([(pairs.queries[query], pairs.corpus[positive]) for query, positive in both])
    finally:
        if pool is not None:
            cross_encoder.stop_multi_process_pool(pool)


def _pool(model: Any, devices: list[str] | bool) -> Any:
    """Processes that embed; None = this one."""
    return model.start_multi_process_pool(None if isinstance(devices, bool) else devices) if devices else None


def _load(file: Path | None) -> Any:
    return np.load(file) if file is not None and file.exists() else None


def _save(file: Path | None, embeddings: NDArray[Any]) -> None:
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, embeddings)
