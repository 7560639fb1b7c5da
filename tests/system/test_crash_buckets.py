"""kill -9 while buckets are trained, filled, split and merged under upserts: every row is there once, and found."""

from __future__ import annotations

import threading
from pathlib import Path

import negmine
import numpy as np
import pytest
from promises import BITS, DIMENSION, Operation, Promises, check, embeddings, groups, tags
from server_process import ServerProcess
from writers import PATIENT, Plan, RawWriter, SdkWriter

KILLS = 3
IDS = 1500  # of each writer
ALL_IDS = np.arange(2 * IDS)
# A bucket for a few dozen rows, so that they come and go all the time; snapshots that hold their numbers.
SMALL = ("--bucket-from-rows", "400", "--bucket-rows-min", "32", "--snapshot-log-bytes", "65536")


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_kills_while_buckets_change_lose_nothing(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    promises = Promises()
    changes: set[str] = set()
    with ServerProcess(tmp_path, *SMALL) as server:
        server.start()
        with negmine.Client(server.target, retry=PATIENT, timeout_s=60) as client:
            collection = client.create_collection("buckets", DIMENSION, bits=BITS, shards=2, vectors="float32")
            first = Operation(1, ALL_IDS[::6], deletes=False)
            promises.send(first)
            collection.upsert(
                first.ids, embeddings(first.ids, 1), step=1, groups=groups(first.ids, 1), tags=tags(first.ids, 1)
            )
            promises.ack(first)
            settled(collection)
            server.terminate()  # these few buckets are stored; what comes will split them
            assert server.wait(30) == 0, server.output
            server.start()
            sdk = SdkWriter(server.target, "buckets", Plan(1, 0, IDS, deletes=False), promises)
            raw = RawWriter(server.target, "buckets", Plan(2, IDS, IDS, deletes=True), promises)
            sdk.start()
            raw.start()
            for _ in range(KILLS):
                acks = promises.acks
                for _ in range(3000):
                    assert (sdk.failure, raw.failure) == (None, None)
                    if promises.acks > acks + 10:
                        break
                    pause(0.01)
                pause(random.uniform(0.2, 1.5))
                changes |= changed(server.metrics())
                server.kill()
                server.start()
                client.wait_until_ready(30)
                check(collection, promises, ALL_IDS)
            sdk.finish()
            raw.finish()
            check_the_end(collection, promises)
            settled(collection)
            check_the_end(collection, promises)
            changes |= changed(server.metrics())
        server.kill()
        server.start()
        with negmine.Client(server.target) as client:
            check_the_end(client.collection("buckets"), promises)
            settled(client.collection("buckets"))
    assert "split" in changes


def changed(page: str) -> set[str]:
    """What was done to buckets, of negmine_bucket_changes_total."""
    lines = [line for line in page.splitlines() if line.startswith("negmine_bucket_changes_total{")]
    return {line.split('"')[1] for line in lines if float(line.rpartition(" ")[2])}


def settled(collection: negmine.Collection) -> None:
    """Waits until every row is in one of several buckets, whose sizes stay as they are."""
    before: list[int] = []
    for _ in range(300):
        stats = collection.stats()
        sizes = sorted(stats.bucket_rows.tolist())
        if stats.loose_rows == 0 and len(sizes) > 10 and sizes == before:
            return
        before = sizes
        pause(0.2)
    raise AssertionError(f"{stats.loose_rows} loose rows, buckets {before}")


def check_the_end(collection: negmine.Collection, promises: Promises) -> None:
    """All is acked, so that what is there is known exactly; exact answers are those of all rows."""
    rows = check(collection, promises, ALL_IDS)
    acked = promises.now_acked()
    steps = {id_: step for id_, (step, deleted) in acked.items() if not deleted}
    found = collection.fetch(ALL_IDS)
    np.testing.assert_array_equal(np.where(found.found, found.steps, -1), [steps.get(id_, -1) for id_ in ALL_IDS])
    stats = collection.stats()
    assert collection.info().rows == rows == len(steps) == stats.bucket_rows.sum() + stats.loose_rows
    ids = np.array(sorted(steps))
    at = np.array([steps[id_] for id_ in ids.tolist()])
    vectors = np.empty((len(ids), DIMENSION), np.float32)
    for step in np.unique(at).tolist():
        vectors[at == step] = embeddings(ids[at == step], step)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    anchors = vectors[:: len(vectors) // 16]
    mined = collection.mine(anchors, 20, scoring="float", exact=True)
    scores = anchors @ vectors.T
    best = np.sort(scores, axis=1)[:, ::-1][:, :20]
    np.testing.assert_allclose(mined.scores, best, atol=1e-5)
    places = np.searchsorted(ids, mined.ids)
    np.testing.assert_array_equal(ids[places], mined.ids)
    np.testing.assert_allclose(np.take_along_axis(scores, places, axis=1), mined.scores, atol=1e-5)
    assert all(np.unique(row).size == 20 for row in mined.ids)
