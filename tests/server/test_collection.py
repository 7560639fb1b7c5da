"""One collection: the batch an anchor comes in changes nothing, codes do as embeddings do, errors are calibrated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from house import House, items, mine_options, upsert
from live_wire import unit, vectors
from negmine_server.collection import Collection
from negmine_server.domain import Metric, Negatives, Scoring, VectorStore, Watermark
from negmine_server.encode import Anchors
from negmine_server.errors import FingerprintMismatch, IncarnationMismatch, InvalidInput
from negmine_server.metrics import Stages
from negmine_server.select.pickers.top import Top
from negmine_server.select.pickers.window import Window
from negmine_server.select.policy import Policy

COUNT, BATCH = 400, 300


def mine(collection: Collection, anchors: Any, with_vectors: bool = False, **changes: Any) -> Negatives:
    asked = mine_options(len(anchors), **changes)
    return collection.mine(Anchors(anchors, None, None), asked, with_vectors=with_vectors, stages=Stages())


def positives(counts: list[int]) -> dict[str, Any]:
    offsets = np.cumsum([0, *counts])
    return {"positive_offsets": offsets, "positive_ids": np.concatenate([np.arange(count) for count in counts])}


@pytest.mark.parametrize("scoring", list(Scoring))
@pytest.mark.parametrize("policy", [Top(), Window(3, 40, random=True)])
def test_an_anchor_gets_the_same_alone_or_in_any_batch(house: House, scoring: Scoring, policy: Policy) -> None:
    made = house.create(dimension=24, bits=128, store=VectorStore.FLOAT32, shards=4)
    upsert(made, range(COUNT), vectors(COUNT, 24))
    anchors = vectors(BATCH, 24, 1)
    counts = [number % 7 * 6 for number in range(BATCH)]
    shared = {"scoring": scoring, "policy": policy, "rescore": scoring is Scoring.SYMMETRIC, "seed": 11}
    together = mine(made, anchors, **shared, **positives(counts))
    for row in (0, 1, 5, 6, 255, 256, 299):
        alone = mine(made, anchors[row : row + 1], **shared, **positives(counts[row : row + 1]))
        np.testing.assert_array_equal(alone.ids[0], together.ids[row])
        np.testing.assert_array_equal(alone.scores[0], together.scores[row])
    turned = mine(made, anchors[::-1].copy(), **shared, **positives(counts[::-1]))
    np.testing.assert_array_equal(turned.ids[::-1], together.ids)


def test_random_choices_hang_on_the_seed(house: House) -> None:
    made = house.create()
    upsert(made, range(COUNT), vectors(COUNT, 8))
    anchors = vectors(20, 8, 1)
    window = Window(0, 100, random=True)
    first, again, other = (mine(made, anchors, policy=window, seed=seed).ids for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=1).all()
    top = mine(made, anchors, k=100).ids
    assert all(set(row) <= set(ranked) for row, ranked in zip(first.tolist(), top.tolist(), strict=True))


def test_random_choices_are_uniform_over_the_window(house: House) -> None:
    made = house.create(shards=1)
    upsert(made, range(50), vectors(50, 8))
    anchors = vectors(1, 8, 1)
    ranked = mine(made, anchors, k=50).ids[0].tolist()
    taken = np.zeros(50)
    for seed in range(600):
        chosen = mine(made, anchors, k=4, policy=Window(10, 30, random=True), seed=seed).ids[0].tolist()
        ranks = [ranked.index(item) for item in chosen]
        assert ranks == sorted(ranks)
        taken[ranks] += 1
    assert not taken[:10].any()
    assert not taken[30:].any()
    assert abs(taken[10:30] - 120).max() < 5 * np.sqrt(120)


@pytest.mark.parametrize("metric", list(Metric))
def test_items_and_anchors_as_codes_are_as_good_as_embeddings(house: House, metric: Metric) -> None:
    rows, anchors = vectors(COUNT, 8), vectors(10, 8, 1)
    by_rows, by_codes = house.create("rows", metric=metric), house.create("codes", metric=metric)
    codes = by_codes.encoder.encode(rows)
    upsert(by_rows, range(COUNT), rows)
    sent = items(range(COUNT), None, codes=codes, fingerprint=by_codes.fingerprint)
    for part in by_codes.upsert(sent):
        part.outcome.result(30)
    for scoring in (Scoring.SYMMETRIC, Scoring.ASYMMETRIC):
        want, got = mine(by_rows, anchors, scoring=scoring), mine(by_codes, anchors, scoring=scoring)
        np.testing.assert_array_equal(got.ids, want.ids)
        np.testing.assert_array_equal(got.scores, want.scores)
    coded = by_codes.encoder.encode(anchors)
    asked = mine_options(10, scoring=Scoring.SYMMETRIC)
    got = by_codes.mine(Anchors(None, coded.words, coded.norms), asked, with_vectors=False, stages=Stages())
    np.testing.assert_array_equal(got.ids, mine(by_rows, anchors, scoring=Scoring.SYMMETRIC).ids)


def test_codes_of_another_encoder_are_refused(house: House) -> None:
    made, other = house.create(), house.create("other", seed=1)
    codes = other.encoder.encode(vectors(1, 8))
    with pytest.raises(FingerprintMismatch, match=other.fingerprint):
        made.upsert(items([1], None, codes=codes, fingerprint=other.fingerprint))
    assert made.rows == 0


def test_estimating_collections_answer_exactly(house: House) -> None:
    made = house.create(estimate_rows=COUNT + 1, store=VectorStore.NONE, shards=4)
    rows, anchors = vectors(COUNT, 8), vectors(10, 8, 1)
    upsert(made, range(COUNT), rows)
    got = mine(made, anchors, scoring=Scoring.FLOAT)
    true = unit(anchors.astype(np.float64)) @ unit(rows.astype(np.float64)).T
    np.testing.assert_array_equal(got.ids, np.argsort(-true, axis=1)[:, :8])
    np.testing.assert_allclose(got.scores, -np.sort(-true, axis=1)[:, :8], rtol=1e-6)
    assert got.exact
    assert not got.standard_errors.any()


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("scoring", [Scoring.SYMMETRIC, Scoring.ASYMMETRIC])
@pytest.mark.parametrize("bits", [64, 128, 256])
def test_about_two_thirds_of_the_scores_are_within_one_standard_error(
    house: House, metric: Metric, scoring: Scoring, bits: int
) -> None:
    dimension = 128
    random = np.random.default_rng(0)
    # Many encoders, because what one rotation gets wrong it gets wrong for every pair.
    inside = []
    for seed in range(4):
        centres = random.standard_normal((40, dimension))
        rows = (centres[random.integers(0, 40, COUNT)] + random.standard_normal((COUNT, dimension))).astype(np.float32)
        made = house.create(f"of-{seed}", metric=metric, dimension=dimension, bits=bits, seed=seed, shards=1)
        upsert(made, range(COUNT), rows)
        anchors = centres.astype(np.float32)
        got = mine(made, anchors, k=COUNT, scoring=scoring)
        ours, theirs = (unit(anchors), unit(rows)) if metric is Metric.COSINE else (anchors, rows)
        true = np.take_along_axis(ours.astype(np.float64) @ theirs.T.astype(np.float64), got.ids, axis=1)
        inside.append(np.abs(got.scores - true) <= got.standard_errors)
        house.catalog.drop(f"of-{seed}")
    # The binomial deviation of a Hamming distance takes the projections as independent; a rotation's are orthogonal,
    # which spreads them better: with as many bits as dimensions about 80 % are within it.
    assert 0.62 < np.mean(inside) < (0.84 if scoring is Scoring.SYMMETRIC else 0.75)


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_standard_errors_hold_where_a_mean_is_subtracted(house: House, shift: float) -> None:
    inside = []
    for seed in range(6):
        rows = vectors(COUNT, 64, seed) + np.float32(shift)
        mean = unit(rows).mean(axis=0)
        made = house.create(f"of-{seed}", dimension=64, bits=128, seed=seed, mean=mean, shards=1)
        upsert(made, range(COUNT), rows)
        anchors = vectors(30, 64, 100 + seed) + np.float32(shift)
        got = mine(made, anchors, k=COUNT)
        true = np.take_along_axis(unit(anchors).astype(np.float64) @ unit(rows).T.astype(np.float64), got.ids, axis=1)
        inside.append(np.abs(got.scores - true) <= got.standard_errors)
        house.catalog.drop(f"of-{seed}")
    assert np.mean(inside) > 0.62  # never too small; an item's part along the mean only makes it smaller


def test_what_is_returned_beside_the_ids(house: House) -> None:
    made = house.create(store=VectorStore.FLOAT16, metric=Metric.INNER_PRODUCT)
    rows = vectors(5, 8)
    upsert(made, range(5), rows, step=9)
    got = mine(made, vectors(3, 8, 1), with_vectors=True)
    assert got.counts.tolist() == [5, 5, 5]
    assert got.vectors is not None
    np.testing.assert_allclose(got.vectors[:, :5], rows[got.ids[:, :5]], rtol=1e-3)
    assert not got.vectors[:, 5:].any()
    assert np.isnan(got.scores[:, 5:]).all()
    assert (got.newest.step, got.scanned.tolist()) == (9, [5, 5, 5])
    empty = house.create("empty", metric=Metric.INNER_PRODUCT, store=VectorStore.INT8)
    assert mine(empty, vectors(2, 8), with_vectors=True).counts.tolist() == [0, 0]


def test_watermarks_of_others_are_refused(house: House) -> None:
    made = house.create(shards=2)
    for wrong in (Watermark("x", 0, (0, 0)), Watermark(made.incarnation, 1, (0, 0)),
                  Watermark(made.incarnation, 0, (0,))):  # fmt: skip
        with pytest.raises(IncarnationMismatch, match=made.incarnation):
            made.check_watermark(wrong)
    made.check_watermark(Watermark(made.incarnation, 0, (5, 5)))


def test_a_step_may_be_so_far_ahead(house: House) -> None:
    made = house.create()
    upsert(made, [1], vectors(1, 8), step=1000)
    upsert(made, [1], vectors(1, 8), step=2000)
    with pytest.raises(InvalidInput, match="3001"):
        made.upsert(items([1], vectors(1, 8), step=3001))
