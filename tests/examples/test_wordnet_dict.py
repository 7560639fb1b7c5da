"""WordNet's dictionary files, on lines of WordNet 3.0 (Copyright 2006 by Princeton University)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo.corpus import CorpusError, unit
from examples.demo.encode_wordnet import quantise, write
from examples.demo.wordnet import FULL_NAMES, load_full
from examples.demo.wordnet_dict import (
    DEBIAN_FOLDER,
    FILES,
    LEXNAMES,
    edges,
    find_dictionary,
    parse,
    parse_line,
    read_dictionary,
)

if TYPE_CHECKING:
    from pathlib import Path

LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
ENTITY = "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is perceived or known  \n"
DOG = (
    "02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 023 @ 02083346 n 0000 @ 01317541 n 0000 "
    "#m 02083863 n 0000 #m 07994941 n 0000 ~ 01322604 n 0000 ~ 02084732 n 0000 ~ 02084861 n 0000 ~ 02085272 n 0000 "
    "~ 02085374 n 0000 ~ 02087122 n 0000 ~ 02103406 n 0000 ~ 02110341 n 0000 ~ 02110806 n 0000 ~ 02110958 n 0000 "
    "~ 02111129 n 0000 ~ 02111277 n 0000 ~ 02111500 n 0000 ~ 02111626 n 0000 ~ 02112497 n 0000 ~ 02112826 n 0000 "
    "~ 02113335 n 0000 ~ 02113978 n 0000 %p 02158846 n 0000 | a member of the genus Canis (probably descended from "
    "the common wolf) that has been domesticated by man since prehistoric times; occurs in many breeds; "
    '"the dog barked all night"  \n'
)
HEGIRA = (
    "00060548 04 n 02 Hegira 1 Hejira 1 001 @i 00058743 n 0000 | the flight of Muhammad from Mecca to Medina in 622 "
    "which marked the beginning of the Muslim era; the Muslim calendar begins in that year  \n"
)
PERVERSION = (
    "00854717 04 n 02 perversion 1 sexual_perversion 0 004 @ 00844254 n 0000 ~ 00737705 n 0000 ~ 00849294 n 0000 "
    "~ 00854876 n 0000 | an aberrant sexual practice;  \n"
)
HANDY = (
    "00019731 00 s 02 handy 0 ready_to_hand(p) 0 002 & 00019131 a 0000 + 04718999 n 0101 | easy to reach; "
    '"found a handy spot for the can opener"  \n'
)
A_CAPPELLA = '00001740 02 r 01 a_cappella 0 000 | without musical accompaniment; "they performed a cappella"  \n'


def test_a_noun() -> None:
    dog = parse_line(DOG)
    assert dog.name == "n02084071"
    assert LEXNAMES[dog.label] == "noun.animal"
    assert dog.lemmas == ("dog", "domestic dog", "Canis familiaris")
    assert dog.definition.startswith("a member of the genus Canis (probably")
    assert dog.definition.endswith("prehistoric times; occurs in many breeds")
    assert dog.examples == ("the dog barked all night",)
    assert dog.hypernyms == ("n02083346", "n01317541")
    assert dog.parent == "n02083346"
    assert dog.similar == ()


def test_an_instance_keeps_its_semicolon() -> None:
    hegira = parse_line(HEGIRA)
    assert hegira.hypernyms == ("n00058743",)
    assert hegira.definition.endswith("Muslim era; the Muslim calendar begins in that year")


def test_an_example_may_follow_without_a_space() -> None:
    line = '00129228 02 r 01 chemically 1 001 \\ 02692967 a 0101 |  with chemicals;"chemically fertilized"  \n'
    assert (parse_line(line).definition, parse_line(line).examples) == ("with chemicals", ("chemically fertilized",))


def test_a_trailing_semicolon_goes() -> None:
    assert parse_line(PERVERSION).definition == "an aberrant sexual practice"


def test_a_satellite_hangs_on_its_head() -> None:
    handy = parse_line(HANDY)
    assert handy.name == "a00019731"
    assert handy.satellite
    assert handy.lemmas == ("handy", "ready to hand")
    assert handy.parent == "a00019131"
    assert handy.hypernyms == ()


def test_an_adverb_stands_alone() -> None:
    adverb = parse_line(A_CAPPELLA)
    assert (adverb.name, adverb.parent, adverb.examples) == ("r00001740", None, ("they performed a cappella",))


def test_the_licence_is_skipped() -> None:
    assert [item.name for item in parse([LICENCE, ENTITY, DOG])] == ["n00001740", "n02084071"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "00001740 03 n",
        "00001740 03 n 01 entity 0 000\n",  # no gloss
        "1740 03 n 01 entity 0 000 | short offset\n",
        "00001740 45 n 01 entity 0 000 | no such lexicographer file\n",
        "00001740 03 x 01 entity 0 000 | no such part of speech\n",
        "00001740 03 n zz entity 0 000 | no count\n",
        "00001740 03 n 01 entity 0 002 @ 00001930 n 0000 ~ | a pointer cut short\n",
    ],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(CorpusError, match="not a line"):
        parse_line(line)


def test_edges_of_a_small_dictionary() -> None:
    synsets = parse(
        [
            ENTITY,
            "00001930 03 n 01 physical_entity 0 001 @ 00001740 n 0000 | an entity that has physical existence\n",
            "00019131 00 a 01 accessible 0 001 & 00019731 a 0000 | capable of being reached\n",
            HANDY,
        ]
    )
    assert edges(synsets) == ([-1, 0, -1, 2], [(1, 0)], [(2, 3), (3, 2)])


def test_a_pointer_to_nowhere_is_refused() -> None:
    with pytest.raises(CorpusError, match="n02084071 points to n02083346"):
        edges(parse([ENTITY, DOG]))


def test_a_named_folder_must_hold_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CorpusError, match=r"data\.noun"):
        find_dictionary(tmp_path / "cache", tmp_path)
    for name in FILES:
        (tmp_path / name).write_text(LICENCE)
    assert find_dictionary(tmp_path / "cache", tmp_path) == tmp_path
    monkeypatch.setenv("NEGMINE_WORDNET", str(tmp_path))
    assert find_dictionary(tmp_path / "cache") == tmp_path
    assert read_dictionary(tmp_path) == []


@pytest.mark.skipif(not (DEBIAN_FOLDER / FILES[0]).is_file(), reason="wordnet-base is not installed")
def test_the_whole_dictionary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEGMINE_WORDNET", raising=False)
    synsets = read_dictionary(find_dictionary(tmp_path))
    parents, hypernyms, similar = edges(synsets)
    assert (len(synsets), len(hypernyms), len(similar)) == (117_659, 97_666, 21_386)
    assert sum(parent >= 0 for parent in parents) == 106_015
    assert all(item.definition for item in synsets)


def test_a_written_folder_reads_back(tmp_path: Path) -> None:
    synsets = parse(
        [
            ENTITY,
            "00001930 03 n 02 physical_entity 0 thing 0 001 @ 00001740 n 0000 | an entity that has existence\n",
            # WordNet's verbs hold such a cycle: inhibit and restrain are each other's hypernym.
            "02422663 41 v 01 restrain 0 001 @ 02423762 v 0000 00 | keep under control\n",
            "02423762 41 v 01 inhibit 0 001 @ 02422663 v 0000 00 | limit the range or extent of\n",
        ]
    )
    write(tmp_path, synsets, unit(np.eye(4, 384)))
    corpus = load_full(tmp_path)
    assert corpus.ids.tolist() == [100001740, 100001930, 202422663, 202423762]
    assert corpus.titles == ("entity", "physical entity, thing", "restrain", "inhibit")
    assert corpus.texts[1] == "an entity that has existence"
    assert corpus.parents.tolist() == [-1, 0, 3, 2]
    assert [corpus.ancestors(row) for row in range(4)] == [set(), {0}, {3}, {2}]
    offsets, ids = corpus.positives(np.arange(4))
    assert offsets.tolist() == [0, 1, 2, 3, 4]
    assert ids.tolist() == [100001930, 100001740, 202423762, 202422663]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FULL_NAMES)


def test_a_folder_without_relations_reads_back(tmp_path: Path) -> None:
    write(tmp_path, parse([A_CAPPELLA]), unit(np.eye(1, 384)))
    corpus = load_full(tmp_path)
    assert corpus.positives(np.array([0]))[0].tolist() == [0, 0]


@given(st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_int8_keeps_the_direction(rows: int, seed: int) -> None:
    vectors = unit(np.random.default_rng(seed).standard_normal((rows, 384)))
    stored, scales = quantise(vectors)
    assert stored.dtype == np.int8
    assert scales.dtype == np.float32
    assert (np.abs(stored).max(axis=1) == 127).all()
    assert (np.einsum("ij,ij->i", unit(stored), vectors) > 0.9997).all()
