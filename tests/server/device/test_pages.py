"""A device's copy of the rows is the rows, whatever happens to them; and what becomes of it where it cannot be."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from mirrored_rows import check_mirror, seen
from negmine_server.device.gpu import Gpu
from negmine_server.device.pages import DevicePages
from negmine_server.domain import Batch, VectorsOn, VectorStore
from negmine_server.index import pageset as pageset_module
from negmine_server.index.pages import STORE_DTYPES
from negmine_server.index.rows import Rows

PAGE = 256
DIMENSION = 5
STAGING = 1 << 14


def mirrored(gpu: Gpu, words: int = 2, store: VectorStore = VectorStore.NONE, **options: Any) -> Rows:
    mirror = DevicePages(gpu, words, store, DIMENSION, PAGE, **{"staging_bytes": STAGING} | options)
    return Rows(words, store, DIMENSION, page_rows=PAGE, mirror=mirror)


def items(rng: np.random.Generator, ids: Any, version: int, words: int = 2, *names: str) -> Batch:
    """Random items with these optional columns."""
    n = len(ids)
    columns = {
        "groups": rng.integers(-1, 9, n),
        "tags": rng.integers(0, 2**63, n).astype(np.uint64),
        "uncertainties": rng.random(n, np.float32),
        "norms": rng.random(n, np.float32) + np.float32(0.5),
        "scales": rng.random(n, np.float32),
        "vectors": rng.integers(-9, 9, (n, DIMENSION)),
    }
    return Batch(
        ids=np.asarray(ids, np.int64),
        versions=np.full(n, version, np.int64),
        codes=rng.integers(0, 2**63, (n, words)).astype(np.uint64),
        corrections=None if version % 5 == 4 else rng.random(n, np.float32),
        **{name: columns[name] for name in names if name != "vectors"},
        vectors=columns["vectors"] if "vectors" in names else None,
    )


def deletes(ids: Any, version: int) -> Batch:
    return Batch(ids=np.asarray(ids, np.int64), versions=np.full(len(ids), version, np.int64))


NAMES = ("groups", "tags", "uncertainties", "norms", "scales")
steps = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.integers(0, 900), st.integers(0, 400), st.sets(st.sampled_from(NAMES))),
        st.tuples(st.just("delete"), st.integers(0, 900), st.integers(0, 900)),
        st.tuples(st.just("move"), st.integers(0, 5)),
        st.just(("restart",)),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.booleans(), st.integers(0, 2**32 - 1))
def test_any_sequence_is_followed(gpu: Gpu, sequence: list[tuple[Any, ...]], renumbering: bool, seed: int) -> None:
    epoch_max, rng = pageset_module.EPOCH_MAX, np.random.default_rng(seed)
    pageset_module.EPOCH_MAX = 5 if renumbering else epoch_max
    try:
        rows = mirrored(gpu)
        for version, step in enumerate(sequence):
            old = rows.view
            if step[0] == "upsert":
                _, first, count, names = step
                rows.apply(items(rng, range(first, first + count), version, 2, *names))
            elif step[0] == "delete":
                rows.apply(deletes(range(step[1], step[1] + step[2]), version))
            elif step[0] == "move":
                there = rows.view.everything()
                rows.move(rows.view, there, rng.integers(0, step[1] + 1, there.shape[0]))
            else:
                frozen, rows = rows.freeze(), mirrored(gpu)
                rows.restore(frozen.parts(300), frozen.tombstones)
            check_mirror(gpu, rows.view)
            check_mirror(gpu, old)  # it stands still
    finally:
        pageset_module.EPOCH_MAX = epoch_max


@pytest.mark.parametrize("vectors_on", VectorsOn)
@pytest.mark.parametrize("store", [VectorStore.INT8, VectorStore.FLOAT16, VectorStore.FLOAT32])
@pytest.mark.parametrize("words", [1, 4])
def test_vectors_and_codes_of_any_width(gpu: Gpu, words: int, store: VectorStore, vectors_on: VectorsOn) -> None:
    rng = np.random.default_rng(words)
    rows = mirrored(gpu, words, store, vectors_on=vectors_on)
    for version in range(3):
        batch = items(rng, range(100 * version, 100 * version + 450), version, words, "vectors")
        rows.apply(
            Batch(
                ids=batch.ids,
                versions=batch.versions,
                codes=batch.codes,
                vectors=batch.vectors.astype(STORE_DTYPES[store]),
            )
        )
        check_mirror(gpu, rows.view, vectors_here=vectors_on is VectorsOn.HOST)
    assert rows.view.mirrored.store == list(VectorStore).index(store)


def test_batches_beyond_a_buffer_go_in_parts(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    rows = mirrored(gpu, staging_bytes=4096)
    rows.apply(items(rng, range(600), 0, 2, *NAMES))
    rows.apply(items(rng, range(300), 1, 2, *NAMES))
    check_mirror(gpu, rows.view)
    rows.apply(deletes(range(0, 600, 2), 2))
    check_mirror(gpu, rows.view)


def test_a_batch_may_lie_on_the_device(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    rows, other = mirrored(gpu), Rows(2, page_rows=PAGE)
    mirror = rows.view
    batch = items(rng, range(300), 0, 2, "groups", "tags")
    other.apply(batch)
    pages = DevicePages(gpu, 2, VectorStore.NONE, DIMENSION, PAGE, staging_bytes=STAGING)
    for slot in range(2):
        pages.open_page(slot)
    columns = {
        name: torch.from_numpy(getattr(batch, name).view(np.int64) if name != "corrections" else batch.corrections)
        for name in ("ids", "versions", "codes", "corrections", "groups", "tags")
    }
    pages.write(np.arange(300), {name: values.to(gpu.torch_device) for name, values in columns.items()})
    view = other.view
    object.__setattr__(view, "mirrored", pages.publish(view.epoch, view.directory[0]))
    check_mirror(gpu, view)
    assert mirror.rows == 0


def test_a_view_keeps_the_pages_that_it_reads(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    rows = mirrored(gpu)
    rows.apply(items(rng, range(1000), 0))
    old = rows.view
    rows.apply(deletes(range(600), 1))
    assert rows.stats().pages == 2
    check_mirror(gpu, old)
    rows.apply(items(rng, range(600), 2))
    check_mirror(gpu, old)
    check_mirror(gpu, rows.view)


def test_a_row_that_is_used_again_is_not_seen_by_older_views(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    rows = mirrored(gpu)
    rows.apply(items(rng, range(400), 0))
    rows.apply(items(rng, range(250), 1))  # frees a block in a page that stays
    rows.apply(deletes(range(250, 256), 1))
    gc.collect()
    old, before = rows.view, seen(gpu, rows.view)
    rows.apply(items(rng, range(1000, 1500), 2))
    assert seen(gpu, old) == before
    check_mirror(gpu, rows.view)


def test_weights_are_those_that_any_row_ever_had(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    rows = mirrored(gpu)
    assert rows.view.mirrored.weights == (1.0, 1.0)
    batch = items(rng, range(50), 0, 2, "norms")
    rows.apply(batch)
    lowest, highest = float(batch.norms.min()), float(batch.norms.max())
    assert rows.view.mirrored.weights == (lowest, highest)
    rows.apply(deletes(range(50), 1))
    assert rows.view.mirrored.weights == (lowest, highest)


def test_every_page_takes_what_it_says(gpu: Gpu) -> None:
    rng = np.random.default_rng(0)
    rows = mirrored(gpu, 3)
    empty = rows.stats().device_bytes
    rows.apply(items(rng, range(10), 0, 3))
    plain = rows.stats().device_bytes
    assert plain - empty == PAGE * (32 + 8 + 8 + 4 + 4 + 4)
    rows.apply(items(rng, range(10), 1, 3, "tags", "norms", "uncertainties"))
    assert rows.stats().device_bytes - plain == PAGE * (8 + 4)
    rows.apply(deletes(range(10), 2))
    assert rows.stats().device_bytes == empty
