"""`mine_hard_negatives` beside sentence-transformers' own, on the same data: the same data sets."""

from __future__ import annotations

import inspect
import random
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import negmine
import numpy as np
import pytest

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is not installed")
pytest.importorskip("datasets", reason="the extra sentence-transformers is not installed")

import tiny_models
from negmine.integrations.sentence_transformers import mine_hard_negatives
from sentence_transformers import util

OPTIONS = {
    "defaults": {},
    "many": {"num_negatives": 7},
    "range": {"range_min": 2, "range_max": 12, "num_negatives": 4},
    "absolute_margin": {"absolute_margin": 0.2},
    "relative_margin": {"relative_margin": 0.3, "num_negatives": 5},
    "both_margins": {"absolute_margin": 0.1, "relative_margin": 0.25, "range_min": 1},
    "starving_margin": {"absolute_margin": 0.3, "range_max": 6},
    "max_score": {"max_score": 0.3},
    "min_score": {"min_score": 0.25, "num_negatives": 6},
    "band": {"min_score": 0.1, "max_score": 0.35, "range_min": 1, "range_max": 20},
    "more_than_there_are": {"range_max": 500, "num_negatives": 36},
    "positives": {"include_positives": True, "num_negatives": 6},
    "random": {"sampling_strategy": "random", "range_max": 25, "num_negatives": 4},
    "random_starving": {"sampling_strategy": "random", "absolute_margin": 0.35, "num_negatives": 4},
    "prompts": {"query_prompt_name": "query", "corpus_prompt": "document w0 ", "relative_margin": 0.1},
    "columns": {"anchor_column_name": "answer", "positive_column_name": "query"},
}
FORMATS = [
    (name, scores) for name in ("triplet", "n-tuple", "labeled-pair", "labeled-list") for scores in (False, True)
]
# Every format with a margin that starves; of the others, which differ in what is mined, two formats each in turn.
CASES = {f"starving_margin-{name}-{scores}": (OPTIONS["starving_margin"], name, scores) for name, scores in FORMATS} | {
    f"{name}-{add}": (options, *FORMATS[(3 * row + add) % 8])
    for row, (name, options) in enumerate(OPTIONS.items())
    for add in (0, 3)
}


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_models.static_model()


@pytest.fixture(scope="module")
def rescorer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tiny_models.cross_encoder(tmp_path_factory.mktemp("cross_encoder"))


@pytest.fixture
def dropped(live: negmine.Client) -> Iterator[None]:
    """Whatever happens, no temporary collection is left."""
    yield
    assert not [one.name for one in live.list_collections() if one.name.startswith("mine-hard-negatives-")]


def compare(live: negmine.Client, model: Any, *arguments: Any, **options: Any) -> Any:
    """Both with the same options; the data sets have the same columns and rows, and scores but for rounding."""
    dataset = options.pop("dataset", None) or tiny_models.pairs()
    random.seed(7)
    theirs = util.mine_hard_negatives(dataset, model, *arguments, verbose=False, **options)
    random.seed(7)
    ours = mine_hard_negatives(dataset, model, *arguments, verbose=False, client=live, **options)
    assert ours.column_names == theirs.column_names
    assert ours.features == theirs.features
    assert len(ours) == len(theirs)
    for name in theirs.column_names:
        if name in {"score", "scores"}:
            for one, other in zip(ours[name], theirs[name], strict=True):
                np.testing.assert_allclose(one, other, atol=2e-6)
        else:
            assert list(ours[name]) == list(theirs[name])
    return ours


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(("options", "output_format", "scores"), CASES.values(), ids=CASES)
def test_the_negatives_are_sentence_transformers_own(
    live: negmine.Client, model: Any, options: dict[str, Any], output_format: str, scores: bool
) -> None:
    texts = None if output_format == "n-tuple" else tiny_models.sentences(40, 2)
    found = compare(live, model, corpus=texts, output_format=output_format, output_scores=bool(scores), **options)
    assert len(found) > 3


@pytest.mark.usefixtures("dropped")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"absolute_margin": 0.01, "num_negatives": 4},
        {"relative_margin": 0.02, "output_format": "n-tuple", "output_scores": True},
        {"max_score": 0.0, "min_score": -5.0, "range_min": 1},
        {"min_score": -0.02, "output_format": "labeled-list", "output_scores": True},
    ],
    ids=str,
)
def test_a_cross_encoder_rescores_the_candidates(
    live: negmine.Client, model: Any, rescorer: Any, options: dict[str, Any]
) -> None:
    compare(live, model, dataset=tiny_models.pairs(10), cross_encoder=rescorer, **options)


@pytest.mark.parametrize("similarity", ["dot", "euclidean"])
def test_other_similarities(live: negmine.Client, similarity: str) -> None:
    other = tiny_models.static_model(similarity=similarity)
    compare(live, other, relative_margin=0.05, output_scores=True)


def test_deprecated_spellings_still_work(live: negmine.Client, model: Any) -> None:
    compare(live, model, as_triplets=False, margin=0.1)
    compare(live, model, output_format="n-tuple-scores")


def test_a_cache_serves_both(live: negmine.Client, model: Any, tmp_path: Path) -> None:
    compare(live, model, cache_folder=str(tmp_path), query_prompt="query ")
    files = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    assert len(files) == 2
    ours = tmp_path / "ours"
    mine_hard_negatives(tiny_models.pairs(), model, cache_folder=str(ours), query_prompt="query ", client=live)
    assert {file.name for file in ours.iterdir()} == {file.name for file in files}
    wrong = tiny_models.static_model(seed=5)  # never asked
    cached = mine_hard_negatives(tiny_models.pairs(), wrong, cache_folder=str(ours), query_prompt="query ", client=live)
    fresh = mine_hard_negatives(tiny_models.pairs(), model, query_prompt="query ", client=live)
    assert cached["negative"] == fresh["negative"]


def test_a_seed_makes_random_sampling_repeatable(live: negmine.Client, model: Any) -> None:
    same = {"sampling_strategy": "random", "range_max": 30, "client": live}
    first, again, other = (mine_hard_negatives(tiny_models.pairs(), model, seed=seed, **same) for seed in (3, 3, 4))
    assert first["negative"] == again["negative"]
    assert first["negative"] != other["negative"]


def test_what_was_mined_is_logged(live: negmine.Client, model: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "negmine"):
        mine_hard_negatives(tiny_models.pairs(), model, client=live, absolute_margin=0.2)
    assert "39 pairs, " in caplog.text
    assert "score of difference: mean 0." in caplog.text
    assert "absolute_margin dropped " in caplog.text


def test_a_collection_of_the_caller_is_kept(live: negmine.Client, model: Any) -> None:
    collection = live.create_collection(f"kept-{uuid.uuid4().hex}", 24, vectors="float32")
    into = mine_hard_negatives(tiny_models.pairs(), model, collection=collection)
    assert into["negative"] == mine_hard_negatives(tiny_models.pairs(), model, client=live)["negative"]
    assert collection.info().rows == len(set(tiny_models.pairs()["answer"]))
    with pytest.raises(negmine.InvalidInput, match="expected a collection of this corpus alone"):
        mine_hard_negatives(tiny_models.pairs(10), model, collection=collection)
    collection.upsert(np.arange(3), np.eye(3, 24, dtype=np.float32), step=9)
    with pytest.raises(negmine.InvalidInput, match=r"3 of 38 items .* are newer than step 0"):
        mine_hard_negatives(tiny_models.pairs(), model, collection=collection)
    collection.drop()


@pytest.mark.usefixtures("dropped")
def test_bad_input_is_named(live: negmine.Client, model: Any) -> None:
    dataset = tiny_models.pairs(8)
    for wrong, message in (
        ({"num_negatives": 0}, "num_negatives is 0"),
        ({"range_min": -1}, "range_min is -1"),
        ({"range_min": 5, "range_max": 7}, "range_max is 7 and range_min 5"),
        ({"output_format": "pairs"}, "output_format is 'pairs'"),
        ({"sampling_strategy": "best"}, "sampling_strategy is 'best'"),
        ({"faiss_batch_size": 0}, "faiss_batch_size is 0"),
        ({"scoring": "float", "vectors": "none"}, "vectors"),
    ):
        with pytest.raises(negmine.NegmineError, match=message):
            mine_hard_negatives(dataset, model, client=live, **wrong)
    with pytest.raises(ValueError, match="dataset is empty"):
        mine_hard_negatives(dataset.select([]), model, client=live)
    with pytest.raises(ValueError, match="expected two at least"):
        mine_hard_negatives(dataset.select_columns(["query"]), model, client=live)
    with pytest.raises(ValueError, match="compares by 'manhattan'"):
        mine_hard_negatives(dataset, tiny_models.static_model(similarity="manhattan"), client=live)


def test_without_a_server_its_error_is_raised(model: Any) -> None:
    with negmine.Client("127.0.0.1:1", retry=negmine.Retry(1)) as nobody, pytest.raises(negmine.Unavailable):
        mine_hard_negatives(tiny_models.pairs(8), model, client=nobody)


def test_the_signature_is_theirs_and_ours_after_it() -> None:
    theirs = inspect.signature(util.mine_hard_negatives).parameters
    ours = inspect.signature(mine_hard_negatives).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    assert [one.default for one in ours.values()][: len(theirs)] == [one.default for one in theirs.values()]
    assert {one.kind for one in list(ours.values())[len(theirs) :]} == {inspect.Parameter.KEYWORD_ONLY}
