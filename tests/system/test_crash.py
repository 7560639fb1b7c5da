"""kill -9 at any instant: what was acked is there, what was deleted stays away, what was never sent is not there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import negmine
import numpy as np
import pytest
from promises import BITS, DIMENSION, Promises, check, embeddings, groups
from server_process import ServerProcess
from writers import PATIENT, Plan, RawWriter, SdkWriter

KILLS = 8
IDS = 600  # of each writer
ALL_IDS = np.arange(2 * IDS)
# Snapshots every few dozen batches, small log objects: kills hit snapshots, trims and half-full windows.
BUSY = ("--snapshot-log-bytes", "65536", "--commit-bytes-max", "8192")


def pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("seed", [1])
def test_kills_under_load_lose_nothing_and_bring_nothing_back(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    promises = Promises()
    with ServerProcess(tmp_path, *BUSY) as server:
        server.start()
        with negmine.Client(server.target, retry=PATIENT, timeout_s=60) as client:
            collection = client.create_collection("crash", DIMENSION, bits=BITS, shards=2)
            sdk = SdkWriter(server.target, "crash", Plan(seed, 0, IDS, deletes=False), promises)
            raw = RawWriter(server.target, "crash", Plan(seed + 1, IDS, IDS, deletes=True), promises)
            sdk.start()
            raw.start()
            for kill in range(KILLS):
                if kill % 4 == 3:  # while it loads and takes its logs over
                    server.kill()
                    server.spawn()
                    pause(random.uniform(0.5, 3.0))
                else:
                    await_acks(promises, sdk, raw)
                    pause(random.uniform(0.0, 1.5))
                server.kill()
                server.start()
                client.wait_until_ready(30)
                check(collection, promises, ALL_IDS)
            sdk.finish()
            raw.finish()
            check_the_end(collection, promises)
        server.kill()
        server.start()
        with negmine.Client(server.target) as client:
            check_the_end(client.collection("crash"), promises)
    assert raw.breaks, "no kill hit the raw writer"
    assert sdk.result.rows, "no row of the SDK's writer was acked"


def await_acks(promises: Promises, sdk: SdkWriter, raw: RawWriter) -> None:
    """Waits until the load is on again."""
    acks = promises.acks
    for _ in range(3000):
        assert sdk.failure is None, sdk.failure
        assert raw.failure is None, raw.failure
        if promises.acks > acks + 10:
            return
        pause(0.01)
    raise AssertionError("nothing is acked")


def check_the_end(collection: negmine.Collection, promises: Promises) -> None:
    """All is acked, so that what is there is known exactly."""
    rows = check(collection, promises, ALL_IDS)
    found = collection.fetch(ALL_IDS)
    acked = promises.now_acked()
    wanted = [-1 if acked.get(id_, (-1, True))[1] else acked[id_][0] for id_ in ALL_IDS.tolist()]
    np.testing.assert_array_equal(np.where(found.found, found.steps, -1), wanted)
    assert collection.info().rows == rows


def test_kills_during_the_first_start_leave_a_folder_that_starts(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        began = time.monotonic()
        server.start()
        start_s = time.monotonic() - began
    for number, share in enumerate([0.3, 0.6, 0.8, 0.95]):
        with ServerProcess(folder := tmp_path / str(number)) as server:
            folder.mkdir()
            server.spawn()
            pause(share * start_s)
            server.kill()
            server.start()
            with negmine.Client(server.target) as client:
                assert client.list_collections() == []
                client.create_collection("first", DIMENSION, bits=BITS)


def test_a_created_collection_survives_a_kill(tmp_path: Path) -> None:
    ids = np.arange(100)
    with ServerProcess(tmp_path) as server:
        server.start()
        for number in range(3):
            with negmine.Client(server.target) as client:
                name = f"c{number}"
                client.create_collection(name, DIMENSION, bits=BITS, seed=number, vectors="int8")
                made = client.get(name)
                server.kill()
            server.start()
            with negmine.Client(server.target) as client:
                there = client.get(name)
                assert (there.fingerprint, there.created_ms) == (made.fingerprint, made.created_ms)
                assert there.watermark.incarnation == made.watermark.incarnation
                assert there.state == "serving"
                result = client.collection(name).upsert(ids, embeddings(ids, 1), step=1, groups=groups(ids, 1))
                assert result.inserted == 100
        with negmine.Client(server.target) as client:
            assert [info.rows for info in client.list_collections()] == [100, 100, 100]


@pytest.mark.parametrize("gently", [False, True], ids=["sigkill", "sigterm"])
def test_a_stream_goes_on_over_a_restart(tmp_path: Path, gently: bool) -> None:
    rows, batch_rows = 6_000, 50
    ids = np.arange(rows)
    acked = threading.Event()
    with ServerProcess(tmp_path, *BUSY) as server:
        server.start()
        with negmine.Client(server.target, retry=PATIENT, timeout_s=60) as client:
            collection = client.create_collection("stream", DIMENSION, bits=BITS, vectors="float32")
            with collection.writer(batch_rows=batch_rows, on_ack=lambda _: acked.set()) as writer:
                for step, first in enumerate(range(0, rows, batch_rows)):
                    part = ids[first : first + batch_rows]
                    writer.send(part, embeddings(part, 7), step=step)
                    if first in (rows // 3, 2 * rows // 3):
                        acked.clear()
                        assert acked.wait(30)
                        if gently:
                            server.terminate()
                            assert server.wait(20) == 0, server.output
                        else:
                            server.kill()
                        server.start()
                result = writer.flush()
            assert result.rows == rows
            assert (result.overwritten, result.stale) == (0, 0)  # nothing was applied twice
            found = collection.fetch(ids)
            assert found.found.all()
            np.testing.assert_array_equal(found.steps, ids // batch_rows)
            assert collection.info().rows == rows
