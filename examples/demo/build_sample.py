"""Builds the committed sample of 20,000 rows from the full WordNet corpus; the same bytes every time.

    NEGMINE_DATA=FOLDER python -m examples.demo.build_sample [--out FOLDER]

Rows come in families (a synset with all its direct hyponyms), and every row comes with all its hypernyms: so
hypernym chains are whole, and an anchor has its siblings, the natural hard negatives, beside it.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from examples.demo.corpus import NO_PARENT, CorpusError
from examples.demo.encode_wordnet import write_texts
from examples.demo.wordnet import FULL_NAMES, SAMPLE_FILES, full_folder, load_full, synset_name

if TYPE_CHECKING:
    from examples.demo.corpus import I64, Corpus

ROWS = 20_000


def pick(corpus: Corpus, size: int) -> I64:
    """`size` rows of `corpus`, ascending, closed under hypernyms. Raises CorpusError when that cannot be met."""
    chosen: set[int] = set()

    def add(family: set[int]) -> None:
        grown = family.union(*map(corpus.ancestors, family)) - chosen
        if len(chosen) + len(grown) <= size:
            chosen.update(grown)

    for row in corpus.shown.tolist():
        add({row, *corpus.narrower[row]})
        if corpus.parents[row] != NO_PARENT:
            add(set(corpus.narrower[int(corpus.parents[row])]))
    # A hash's order is the same with every version of every library.
    names = [synset_name(item) for item in corpus.ids.tolist()]
    order = sorted(range(corpus.rows), key=lambda row: hashlib.sha256(names[row].encode()).digest())
    for row in order:
        # A row with neither hypernyms nor hyponyms is its own family; one without hyponyms comes with its hypernym's.
        if corpus.narrower[row] or not corpus.broader[row]:
            add({row, *corpus.narrower[row]})
        if len(chosen) == size:
            return np.array(sorted(chosen), np.int64)
    raise CorpusError(f"families fill {len(chosen)} rows of the {size} wanted")


def build(source: Path, arrays: Path, texts: Path) -> None:
    """Write the sample's two files, `arrays` and `texts`, from the full corpus in `source`."""
    rows = pick(load_full(source), ROWS)
    with np.load(source / FULL_NAMES[0]) as data:
        place = np.full(len(data["ids"]) + 1, NO_PARENT, np.int32)  # the last stays: it is parent -1's
        place[rows] = np.arange(len(rows))
        edges = place[data["edges_hyp"]]
        arrays.parent.mkdir(parents=True, exist_ok=True)
        with arrays.open("wb") as file:
            np.savez(
                file,
                ids=data["ids"][rows].astype("S9"),
                label=data["label"][rows],
                lexnames=data["lexnames"],
                parent=place[data["parent"][rows]],
                edges_hyp=edges[(edges != NO_PARENT).all(axis=1)],
                gloss=data["gloss"][rows],
                gloss_scale=data["gloss_scale"][rows],
            )
    with gzip.open(source / FULL_NAMES[1], "rt", encoding="utf-8") as lines:
        table = [line.rstrip("\n").split("\t") for line in lines][1:]
    write_texts(texts, [table[row] for row in rows])


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the demo's committed WordNet sample.")
    parser.add_argument("--out", type=Path, default=SAMPLE_FILES[0].parent, help="folder to write (default: data/)")
    options = parser.parse_args()
    arrays, texts = (options.out / path.name for path in SAMPLE_FILES)
    try:
        build(full_folder(), arrays, texts)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path in (arrays, texts):
        print(f"{path}: {path.stat().st_size:,} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
