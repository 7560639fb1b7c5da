"""The demo: a real corpus streamed into a real server, and the hard negatives that come back.

`load` gives the corpora by name: `sample` and `full` are WordNet glosses, `glove` is word vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from examples.demo.corpus import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

    from examples.demo.corpus import Corpus

__all__ = ["NAMES", "CorpusError", "load"]

NAMES = ("sample", "full", "glove")


def load(name: str, folder: Path | None = None) -> Corpus:
    """Load a corpus by name; `folder` says where `full` lies (default: NEGMINE_DATA, else the encoder's cache).

    Raises CorpusError when the name is unknown, or when files or packages are missing or do not fit together.
    """
    if name == "glove":
        from examples.demo.glove import load_glove

        return load_glove()
    from examples.demo.wordnet import load_full, load_sample

    if name == "sample":
        return load_sample()
    if name == "full":
        return load_full(folder)
    raise CorpusError(f"unknown corpus {name!r}: expected one of {', '.join(NAMES)}")
