"""Models of sentence-transformers made from scratch in no time, and texts for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WORDS = [f"w{number}" for number in range(150)]
PROMPTS = {"query": "query ", "document": "document "}


def static_model(seed: int = 0, similarity: str = "cosine") -> Any:
    """The mean of its words' vectors, 24 dimensions; trains."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    torch.manual_seed(seed)
    model = SentenceTransformer(
        modules=[StaticEmbedding(word_tokenizer(), embedding_dim=24)], device="cpu", similarity_fn_name=similarity
    )
    model.prompts.update(PROMPTS)
    return model


def cross_encoder(folder: Path) -> Any:
    """One layer of BERT with random weights."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    torch.manual_seed(1)
    size = len(WORDS) + len(SPECIAL)
    config = BertConfig(
        vocab_size=size,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        num_labels=1,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=word_tokenizer(), pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    return CrossEncoder(str(folder), device="cpu", max_length=32)


SPECIAL = ["[PAD]", "[UNK]", "query", "document"]


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: row for row, word in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def sentences(count: int, seed: int) -> list[str]:
    """Different sentences of 4 to 8 words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(4, 9), replace=False)) for _ in range(count)]


def pairs(count: int = 40) -> Any:
    """(anchor, positive) pairs, 8 at least: a few anchors have several positives, one pair is there twice."""
    import datasets

    anchors, noise = sentences(count, 0), sentences(count, 1)
    # A positive shares words with its anchor, so that it scores above most, and below some.
    positives = [f"{' '.join(left.split()[:3])} {right}" for left, right in zip(anchors, noise, strict=True)]
    anchors[5] = anchors[7] = anchors[1]
    anchors[6], positives[6] = anchors[0], positives[0]
    positives[3] = positives[2]
    return datasets.Dataset.from_dict({"query": anchors, "answer": positives})
