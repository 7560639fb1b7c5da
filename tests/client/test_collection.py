"""Collections of the real server through the blocking client."""

from __future__ import annotations

import threading

import negmine
import numpy as np
import pytest

RANDOM = np.random.default_rng(3)
VECTORS = RANDOM.standard_normal((200, 16)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
IDS = np.arange(200) * 7


@pytest.fixture
def full(fresh: negmine.Collection) -> negmine.Collection:
    fresh.upsert(IDS, VECTORS, step=3, groups=IDS % 5, tags=np.where(IDS % 2, 1, 2), uncertainties=IDS / 1400)
    return fresh


def test_what_was_written_is_read(full: negmine.Collection) -> None:
    back = full.fetch([14, 5, 0], embeddings=True, codes=True)
    assert back.found.tolist() == [True, False, True]
    assert back.steps.tolist()[::2] == [3, 3]
    assert back.groups.tolist() == [4, -1, 0]
    assert back.tags.tolist()[::2] == [2, 2]
    np.testing.assert_allclose(back.uncertainties, [0.01, np.nan, 0.0], atol=1e-6)
    np.testing.assert_allclose(back.embeddings[[0, 2]], VECTORS[[2, 0]], atol=1e-6)
    codes = full.encoder().encode(VECTORS[[2, 0]])
    np.testing.assert_array_equal(back.codes.words[[0, 2]], codes.words)
    assert back.codes.fingerprint == codes.fingerprint == full.info().fingerprint


def test_mining_equals_brute_force(full: negmine.Collection) -> None:
    positives = [[int(IDS[row + 1]), 999_999] for row in range(20)]
    found = full.mine(
        VECTORS[:20], 8, own_ids=IDS[:20], positives=positives, scoring="float", exact=True, return_versions=True,
        return_embeddings=True,
    )  # fmt: skip
    scores = VECTORS[:20] @ VECTORS.T
    for row in range(20):
        scores[row, [row, row + 1]] = -np.inf
    order = np.argsort(-scores, axis=1)[:, :8]
    np.testing.assert_array_equal(found.ids, IDS[order])
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, order, 1), atol=1e-5)
    np.testing.assert_allclose(found.embeddings, VECTORS[order], atol=1e-5)
    assert found.exact_scores
    assert (found.steps == 3).all()
    assert found.outcomes == (negmine.Outcome.FULL,) * 20
    assert found.missing_positives == tuple((row, 999_999) for row in range(20))
    assert found.newest.step == 3
    assert found.collection == full.name
    assert found.timings_ms["scan"] >= 0


def test_filters_act(full: negmine.Collection) -> None:
    found = full.mine(VECTORS[:10], 5, groups=IDS[:10] % 5, require_tags=1, min_step=3)
    assert not (found.ids % 5 == (IDS[:10] % 5)[:, None]).any()
    assert (found.ids % 2 == 1).all()
    none = full.mine(VECTORS[:2], 5, min_step=4)
    assert none.outcomes == (negmine.Outcome.EXHAUSTED,) * 2
    assert none.starved.all()
    assert (none.ids == -1).all()


def test_protection_and_windows_act(full: negmine.Collection) -> None:
    positives = IDS[1:11]
    args = {"own_ids": IDS[:10], "positives": positives, "scoring": "float", "exact": True}
    guard = negmine.Protection(percent_of_positive=0.95)
    found = full.mine(VECTORS[:10], 4, protection=guard, **args)
    ceiling = 0.95 * np.einsum("ij,ij->i", VECTORS[:10], VECTORS[1:11])
    np.testing.assert_allclose(found.positive_scores, ceiling / 0.95, atol=1e-5)
    assert (np.isnan(found.scores) | (found.scores < ceiling[:, None] + 1e-6)).all()
    top = full.mine(VECTORS[:10], 8, **args)
    window = full.mine(VECTORS[:10], 4, policy=negmine.Window(4, 8), **args)
    np.testing.assert_array_equal(window.ids, top.ids[:, 4:8])


def test_reading_ones_writes_and_versions(full: negmine.Collection) -> None:
    one = VECTORS[:1]
    assert full.upsert([0], one, step=2).stale == 1
    result = full.upsert([0], one, step=9)
    assert (result.overwritten, result.stale) == (1, 0)
    assert full.mine(one, 1, min_watermark=result.watermark).newest.step == 9
    gone = full.delete([0, 12345], step=9)
    assert gone.deleted == 1
    assert full.fetch([0], min_watermark=gone.watermark).found.tolist() == [False]
    assert full.start_generation() == 1
    assert full.start_generation(1) == 1
    other = negmine.Watermark("another", 1, result.watermark.sequences)
    with pytest.raises(negmine.IncarnationMismatch):
        full.mine(one, 1, min_watermark=other)


def test_codes_stand_in_for_floats(live: negmine.Client) -> None:
    collection = live.create_collection("codes", 16, bits=256, exist_ok=True)
    encoder = collection.encoder()
    codes = encoder.encode(VECTORS)
    assert collection.upsert(IDS, codes).rows == 200
    found = collection.mine(codes[:5], 1)
    assert found.ids[:, 0].tolist() == IDS[:5].tolist()
    assert not found.exact_scores
    assert found.standard_errors is not None
    foreign = negmine.Encoder(16, 256, seed=9).encode(VECTORS[:2])
    with pytest.raises(negmine.FingerprintMismatch):
        collection.mine(foreign, 1)
    with pytest.raises(negmine.FingerprintMismatch) as caught:
        collection.upsert([1, 2], foreign)
    assert caught.value.progress is not None
    assert caught.value.progress.result.rows == 0


def test_no_anchors_have_no_negatives(full: negmine.Collection) -> None:
    found = full.mine(np.empty((0, 16), np.float32), 4)
    assert len(found) == 0
    assert found.ids.shape == (0, 4)


def test_half_precision_is_taken(fresh: negmine.Collection) -> None:
    fresh.upsert(IDS, VECTORS.astype(np.float16))
    assert fresh.mine(VECTORS[:5].astype(np.float64), 1).ids[:, 0].tolist() == IDS[:5].tolist()


def test_many_threads_share_a_client(full: negmine.Collection) -> None:
    wanted = full.mine(VECTORS[:50], 4, exact=True).ids
    wrong: list[int] = []

    def work(first: int) -> None:
        rows = range(first, 50, 4)
        found = (full.mine(VECTORS[row : row + 1], 4, exact=True).ids[0] for row in rows)
        wrong.extend(row for row, ids in zip(rows, found, strict=True) if not np.array_equal(ids, wanted[row]))

    workers = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_writers_prefetchers_and_streams_together(full: negmine.Collection) -> None:
    batches = [slice(first, first + 10) for first in range(0, 100, 10)]
    ahead = negmine.Prefetcher(full, batches, lambda rows: {"anchors": VECTORS[rows], "k": 3, "own_ids": IDS[rows]})
    with full.writer() as writer, ahead:
        for step, (rows, found) in enumerate(ahead, start=4):
            assert found.counts.tolist() == [3] * 10
            writer.send(IDS[rows], VECTORS[rows], step=step)
    assert writer.result.overwritten == 100
    answers = list(full.mine_stream({"anchors": VECTORS[rows], "k": 1} for rows in batches))
    assert [found.ids[:, 0].tolist() for found in answers] == [IDS[rows].tolist() for rows in batches]


@pytest.mark.parametrize(
    ("args", "kind", "field"),
    [
        ({"k": 0}, negmine.InvalidInput, "k"),
        ({"k": 1_000_000}, negmine.TooLarge, "k"),
        ({"anchors": np.ones((2, 5), np.float32)}, negmine.InvalidInput, "embeddings"),
        ({"anchors": np.zeros((2, 16), np.float32)}, negmine.InvalidInput, "embeddings"),
        ({"anchors": np.full((2, 16), np.nan, np.float32)}, negmine.InvalidInput, "embeddings"),
        ({"policy": negmine.Window(5, 5)}, negmine.InvalidInput, "policy"),
    ],
)
def test_the_servers_refusals_are_typed(
    args: dict, kind: type[negmine.NegmineError], field: str, full: negmine.Collection
) -> None:
    with pytest.raises(kind) as caught:
        full.mine(**{"anchors": VECTORS[:2], "k": 2, **args})
    assert field in caught.value.field
    assert caught.value.reason.isupper()


def test_refused_rows_leave_nothing(fresh: negmine.Collection) -> None:
    for ids, vectors, step in (
        ([1, 1], VECTORS[:2], 0),
        ([1, 2], VECTORS[:2, :5], 0),
        ([1, 2], VECTORS[:2] * [[1], [np.inf]], 0),
        ([1, 2], VECTORS[:2] * [[1], [0]], 0),
        ([1, 2], VECTORS[:2], 1 << 39),
    ):
        with pytest.raises(negmine.InvalidInput) as caught:
            fresh.upsert(ids, vectors, step=step)
        assert caught.value.progress is not None
        assert caught.value.progress.result.rows == 0
    assert fresh.info().rows == 0


def test_names_and_upkeep(live: negmine.Client) -> None:
    made = live.create_collection("keep", 8, bits=64, metric="inner_product", vectors="int8", seed=5, shards=2)
    with pytest.raises(negmine.AlreadyExists):
        live.create_collection("keep", 8)
    made.upsert([1, 2], np.eye(2, 8))
    info = live.get("keep")
    assert (info.dimension, info.bits, info.metric, info.vectors, info.seed, info.shards, info.rows) == (
        8, 64, "inner_product", "int8", 5, 2, 2,
    )  # fmt: skip
    assert info.state == "serving"
    assert live.set_alias("latest", "keep") is None
    assert live.list_aliases()["latest"] == "keep"
    assert live.collection("latest").info().name == "keep"
    with pytest.raises(negmine.NegmineError):
        live.drop_collection("keep")
    assert made.snapshot().rows == 2
    stats = made.stats()
    assert sum(shard.rows for shard in stats.shards) == 2
    assert "keep" in {held.name for held in live.list_collections()}
    live.drop_alias("latest")
    made.drop()
    with pytest.raises(negmine.NotFound, match="keep"):
        made.info()
    with pytest.raises(negmine.NotFound):
        made.upsert([1], np.eye(1, 8))
    assert live.server_info().limits.anchors_max > 0


def test_means_given_and_estimated(live: negmine.Client) -> None:
    mean = VECTORS.mean(axis=0)
    given = live.create_collection("given", 16, mean=mean)
    np.testing.assert_allclose(given.info().mean, mean)
    given.encoder()
    estimated = live.create_collection("estimated", 16, mean=negmine.EstimateMean(1000))
    assert estimated.info().estimate_mean == negmine.EstimateMean(1000)
    with pytest.raises(negmine.NotReady, match="is not frozen"):
        estimated.encoder()
