"""WordNet 3.0 glosses as a corpus: the committed sample, and the full 117,659 synsets from a folder.

Both have one form, two files with the same row order:
- an npz with `ids` (names such as n00001740), `label` int16 [n] and its names `lexnames` (the lexicographer files),
  `parent` int32 [n] (row of the first hypernym or of the head adjective, -1 = none), `edges_hyp` int32 [m, 2]
  (rows of child and hypernym), `gloss` int8 [n, 384] and `gloss_scale` float32 [n];
- a gzipped TSV with one header line: id, lexname, lemmas (|-separated), definition, examples (|-separated).
"""

from __future__ import annotations

import gzip
import os
import zipfile
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from examples.demo.corpus import NO_PARENT, Corpus, CorpusError, Ragged, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.demo.corpus import I64

SAMPLE_FILES = (
    Path(__file__).parent / "data" / "wordnet_sample.npz",
    Path(__file__).parent / "data" / "wordnet_sample_texts.tsv.gz",
)
FULL_NAMES = ("wordnet_minilm_int8.npz", "wordnet_texts.tsv.gz")
CACHE = Path(__file__).parents[2] / ".cache" / "wordnet"
TSV_HEADER = "id\tlexname\tlemmas\tdefinition\texamples"
NOTICE = "WordNet 3.0 Copyright 2006 by Princeton University. Encoded with all-MiniLM-L6-v2 (Apache-2.0)."

# The part of speech before the offset, in the order of WordNet's Prolog database. Satellites (s) are named as
# adjectives, with which they share a file and its offsets.
POS_DIGITS = {"n": 1, "v": 2, "a": 3, "r": 4}
POS_LETTERS = {digit: letter for letter, digit in POS_DIGITS.items()}
POS_UNIT = 10**8  # offsets have eight digits

SHOWN = (
    "n02084071",  # dog
    "n04536866",  # violin
    "n07850329",  # cheese
    "n09472597",  # volcano
    "n10428004",  # physicist
    "n08361329",  # democracy
    "n12268246",  # oak
    "v01960929",  # swim
    "v00915848",  # whisper
    "a01148283",  # happy
)


def synset_id(name: str) -> int:
    """The item id of a synset name: n00001740 → 1_00001740. `synset_name` is its inverse."""
    letter, offset = name[:1], name[1:]
    if letter not in POS_DIGITS or len(offset) != 8 or not (offset.isascii() and offset.isdigit()):
        raise CorpusError(f"{name!r} is no synset name: expected one of n, v, a, r and eight digits")
    return POS_DIGITS[letter] * POS_UNIT + int(offset)


def synset_name(item_id: int) -> str:
    """The synset name of an item id: 1_00001740 → n00001740."""
    digit, offset = divmod(item_id, POS_UNIT)
    if digit not in POS_LETTERS:
        raise CorpusError(f"{item_id} is no synset's id: expected 1 to 4 before eight digits")
    return f"{POS_LETTERS[digit]}{offset:08d}"


def load_sample() -> Corpus:
    """The committed 20,000 rows."""
    return read("sample", *SAMPLE_FILES)


def full_folder() -> Path:
    """Where the full corpus is looked for: NEGMINE_DATA, else the cache that `encode_wordnet` fills."""
    named = os.environ.get("NEGMINE_DATA")
    return Path(named) if named else CACHE


def load_full(folder: Path | None = None) -> Corpus:
    """All 117,659 rows from `folder` (default: `full_folder()`)."""
    folder = folder or full_folder()
    arrays, texts = (folder / name for name in FULL_NAMES)
    return read("full", arrays, texts)


def read(name: str, arrays: Path, texts: Path) -> Corpus:
    """Read the two files of a WordNet corpus.

    Raises CorpusError when a file is missing or damaged, or when the two do not hold the same rows.
    """
    for path in (arrays, texts):
        if not path.is_file():
            raise CorpusError(
                f"{path} is not there: set NEGMINE_DATA to the folder that holds {path.name}, "
                "or make it with `python -m examples.demo.encode_wordnet`"
            )
    try:
        with np.load(arrays) as data:
            names = [str(item) for item in data["ids"].astype("U9")]
            labels = data["label"].astype(np.int64)
            label_names = tuple(str(item) for item in data["lexnames"])
            parents = data["parent"].astype(np.int64)
            edges = data["edges_hyp"].astype(np.int64)
            # The scale is left aside: it does not change a vector's direction.
            vectors = unit(data["gloss"])
        with gzip.open(texts, "rt", encoding="utf-8") as lines:
            table = [line.rstrip("\n").split("\t") for line in lines]
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CorpusError(f"{arrays} or {texts.name} cannot be read: {error}") from error
    if "\t".join(table[0]) != TSV_HEADER:
        raise CorpusError(f"{texts} begins with {table[0]}: expected the columns {TSV_HEADER.split()}")
    if [fields[0] for fields in table[1:]] != names:
        raise CorpusError(f"{arrays} and {texts.name} do not hold the same synsets in the same order")
    lemmas = [fields[2].split("|") for fields in table[1:]]
    ids = np.array([synset_id(item) for item in names], np.int64)
    child, above = _broader_pairs(parents, edges)
    rows = len(ids)
    return Corpus(
        name=name,
        ids=ids,
        vectors=vectors,
        texts=tuple(fields[3] for fields in table[1:]),
        titles=tuple(", ".join(words) for words in lemmas),
        labels=labels,
        label_names=label_names,
        parents=parents,
        synonyms=_synonyms(lemmas),
        broader=Ragged.from_pairs(rows, child, above),
        narrower=Ragged.from_pairs(rows, above, child),
        shown=np.flatnonzero(np.isin(ids, [synset_id(item) for item in SHOWN])),
        notice=NOTICE,
    )


def _broader_pairs(parents: I64, edges: I64) -> tuple[I64, I64]:
    """(child, hypernym) rows: the hypernym edges, and the head of each adjective satellite, which is its parent."""
    children = np.flatnonzero(parents != NO_PARENT)
    return np.concatenate([edges[:, 0], children]), np.concatenate([edges[:, 1], parents[children]])


def _synonyms(lemmas: Sequence[Sequence[str]]) -> Ragged:
    """Rows that share a lemma, by row. Case is folded, as in WordNet's own index."""
    holders: dict[str, set[int]] = {}
    for row, words in enumerate(lemmas):
        for word in words:
            holders.setdefault(word.casefold(), set()).add(row)
    pairs = np.array([pair for rows in holders.values() for pair in permutations(rows, 2)], np.int64).reshape(-1, 2)
    return Ragged.from_pairs(len(lemmas), pairs[:, 0], pairs[:, 1])
