"""Reads WordNet 3.0's own dictionary files (data.noun, data.verb, data.adj, data.adv); the form is wndb(5WN).

A line is `offset lex_filenum ss_type w_cnt word lex_id [word lex_id …] p_cnt [ptr …] [frames …] | gloss`, where
w_cnt is two hexadecimal digits, p_cnt three decimal ones, and a pointer is `symbol offset pos source/target`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from examples.demo.corpus import NO_PARENT, CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEBIAN_FOLDER = Path("/usr/share/wordnet")
DEBIAN_PACKAGE = "wordnet-base"
FILES = ("data.noun", "data.verb", "data.adj", "data.adv")  # in the order of the item ids

# Lexicographer files by number, from lexnames(5WN).
LEXNAMES = (
    "adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact", "noun.attribute",
    "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling", "noun.food", "noun.group",
    "noun.location", "noun.motive", "noun.object", "noun.person", "noun.phenomenon", "noun.plant", "noun.possession",
    "noun.process", "noun.quantity", "noun.relation", "noun.shape", "noun.state", "noun.substance", "noun.time",
    "verb.body", "verb.change", "verb.cognition", "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact", "verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession",
    "verb.social", "verb.stative", "verb.weather", "adj.ppl",
)  # fmt: skip

HYPERNYM = ("@", "@i")  # class and instance
SIMILAR = "&"
ADJECTIVE_MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand: no part of the word
EXAMPLES_BEGIN = re.compile(r';\s*"')
QUOTED = re.compile(r'"([^"]*)"')


@dataclass(frozen=True, slots=True)
class Synset:
    """One line of a data file. Other synsets are named as in `name`."""

    name: str  # letter (n, v, a, r; satellites are a) and eight-digit offset
    satellite: bool
    label: int  # lexicographer file, index into LEXNAMES
    lemmas: tuple[str, ...]
    definition: str
    examples: tuple[str, ...]
    hypernyms: tuple[str, ...]
    similar: tuple[str, ...]

    @property
    def parent(self) -> str | None:
        """The first hypernym, or the head of a satellite."""
        above = self.similar if self.satellite else self.hypernyms
        return above[0] if above else None


def parse_line(line: str) -> Synset:
    """One synset line. Raises CorpusError when it does not have the form of wndb(5WN)."""
    head, bar, gloss = line.partition("|")
    fields = head.split()
    try:
        offset, label, ss_type = fields[0], int(fields[1]), fields[2]
        words_end = 4 + 2 * int(fields[3], 16)
        words = fields[4:words_end:2]
        pointers = fields[words_end + 1 : words_end + 1 + 4 * int(fields[words_end])]
    except (IndexError, ValueError) as error:
        raise CorpusError(f"not a line of a WordNet data file: {line[:80]!r}") from error
    if not bar or len(offset) != 8 or len(pointers) % 4 or not words or ss_type not in "nvasr" or label > 44:
        raise CorpusError(f"not a line of a WordNet data file: {line[:80]!r}")
    targets = [(pointers[at], pointers[at + 2] + pointers[at + 1]) for at in range(0, len(pointers), 4)]
    gloss = gloss.strip()
    return Synset(
        name=("a" if ss_type == "s" else ss_type) + offset,
        satellite=ss_type == "s",
        label=label,
        lemmas=tuple(ADJECTIVE_MARKER.sub("", word).replace("_", " ") for word in words),
        definition=EXAMPLES_BEGIN.split(gloss, maxsplit=1)[0].rstrip(" ;"),
        examples=tuple(QUOTED.findall(gloss)),
        hypernyms=tuple(name for symbol, name in targets if symbol in HYPERNYM),
        similar=tuple(name for symbol, name in targets if symbol == SIMILAR),
    )


def parse(lines: Iterable[str]) -> list[Synset]:
    """Synsets of a data file; the licence at its head is indented and skipped."""
    return [parse_line(line) for line in lines if not line.startswith(" ")]


def read_dictionary(folder: Path) -> list[Synset]:
    """All synsets of a dictionary folder: nouns, verbs, adjectives, adverbs, each by offset."""
    synsets: list[Synset] = []
    for name in FILES:
        with (folder / name).open(encoding="utf-8") as lines:
            synsets += parse(lines)
    return synsets


def edges(synsets: Sequence[Synset]) -> tuple[list[int], list[tuple[int, int]], list[tuple[int, int]]]:
    """(parent row of each synset or NO_PARENT, (child, hypernym) rows, (synset, similar synset) rows), ascending.

    Raises CorpusError when a synset points to one that is not there.
    """
    rows = {synset.name: row for row, synset in enumerate(synsets)}
    for synset in synsets:
        unknown = [name for name in synset.hypernyms + synset.similar if name not in rows]
        if unknown:
            raise CorpusError(f"synset {synset.name} points to {unknown[0]}, which the dictionary does not hold")
    parents = [NO_PARENT if synset.parent is None else rows[synset.parent] for synset in synsets]
    hypernyms = [(row, rows[name]) for row, synset in enumerate(synsets) for name in synset.hypernyms]
    similar = [(row, rows[name]) for row, synset in enumerate(synsets) for name in synset.similar]
    return parents, sorted(hypernyms), sorted(similar)


def find_dictionary(cache: Path, folder: Path | None = None) -> Path:
    """The folder of the dictionary files: `folder`, else NEGMINE_WORDNET, else Debian's, else unpacked in `cache`.

    Where none is there, Debian's package is downloaded and unpacked below `cache`; nothing is installed.
    Raises CorpusError when a named folder lacks a file, or when the package cannot be had.
    """
    named = folder or (Path(os.environ["NEGMINE_WORDNET"]) if os.environ.get("NEGMINE_WORDNET") else None)
    unpacked = cache / DEBIAN_FOLDER.relative_to("/")
    for place in [named] if named else [DEBIAN_FOLDER, unpacked]:
        if all((place / name).is_file() for name in FILES):
            return place
    if named:
        raise CorpusError(f"{named} holds no WordNet dictionary: expected {', '.join(FILES)}")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise CorpusError(f"no WordNet dictionary in {DEBIAN_FOLDER}: set NEGMINE_WORDNET to the folder of data.noun")
    cache.mkdir(parents=True, exist_ok=True)
    download = ["apt-get", "download", DEBIAN_PACKAGE]
    got = subprocess.run(download, cwd=cache, capture_output=True, text=True, check=False)
    archives = sorted(cache.glob(f"{DEBIAN_PACKAGE}_*.deb"))
    if got.returncode or not archives:
        raise CorpusError(f"{DEBIAN_PACKAGE} cannot be downloaded (run apt-get update first?): {got.stderr.strip()}")
    subprocess.run(["dpkg-deb", "-x", archives[-1], cache], check=True)
    return unpacked
