"""A device without room or that is lost: typed errors before the log, nothing acked is lost, and the host answers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cuda_emulator.emulated import EmulatedLauncher, without_compiler
from mirrored_rows import check_mirror
from negmine_server import metrics
from negmine_server.device.gpu import Gpu
from negmine_server.device.pages import RESERVE_BYTES, DevicePages
from negmine_server.device.program import Kernel
from negmine_server.domain import Metric, VectorsOn, VectorStore
from negmine_server.errors import DeviceFull, DeviceLost
from negmine_server.index.rows import Rows
from negmine_server.shard import Shard, ShardOptions
from negmine_server.storage.objects import LocalObjects
from row_model import WORDS, batch, contents

pytestmark = without_compiler

PAGE = 256
PAGE_BYTES = PAGE * (16 + 8 + 8 + 4 + 4 + 4)
STAGING = 1 << 14
FIXED = 3 * STAGING + 12 * 8  # buffers and an empty directory


class Faulty(Gpu):
    """Has so many bytes, whoever wants them; and may be lost."""

    def __init__(self, room: int = 1 << 40) -> None:
        self.room = room
        self.lost = False
        super().__init__(torch.device("cpu"), EmulatedLauncher(), label="faulty")
        self.launcher = self
        self._emulated = EmulatedLauncher()

    def empty(self, shape: int | tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self._take(int(np.prod(shape)) * dtype.itemsize)
        return super().empty(shape, dtype)

    def pinned(self, shape: int | tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        self._take(int(np.prod(shape)) * dtype.itemsize)
        return super().pinned(shape, dtype)

    def prepare(self, kernels: Any) -> None:
        self._emulated.prepare(kernels)

    def launch(self, kernel: Kernel, blocks: tuple[int, int], argument: int, number: int) -> None:
        if self.lost:
            raise RuntimeError("CUDA error: unspecified launch failure")
        self._emulated.launch(kernel, blocks, argument, number)

    def _take(self, size: int) -> None:
        if size > self.room:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
        self.room -= size


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    made = Faulty()
    yield made
    made.close()


def mirror(gpu: Gpu, store: VectorStore = VectorStore.NONE, **options: Any) -> DevicePages:
    return DevicePages(gpu, WORDS, store, 5, PAGE, staging_bytes=STAGING, **options)


def upsert(first: int, count: int, serial: int = 0, **columns: Any) -> Any:
    return batch(list(range(first, first + count)), [serial] * count, serial, **columns)


def deleted(first: int, count: int, serial: int) -> Any:
    return batch(list(range(first, first + count)), [serial] * count, deletes=True)


def given_up() -> float:
    return metrics.REGISTRY.get_sample_value("negmine_device_mirrors_given_up_total", {"device": "faulty"}) or 0


def test_a_budget_counts_pages_to_come_and_columns_to_come(faulty: Faulty) -> None:
    pages = mirror(faulty, budget_bytes=FIXED + 4 * PAGE_BYTES)  # three of them for rows, one for compaction
    assert pages.bytes == FIXED
    pages.admit(700, 3, frozenset())
    with pytest.raises(DeviceFull, match=f"{4 * PAGE} more may need {5 * PAGE_BYTES}"):
        pages.admit(4 * PAGE, 4, frozenset())
    pages.admit(0, 2, frozenset({"tags"}))
    with pytest.raises(DeviceFull):  # once there are tags, every page has them
        pages.admit(700, 3, frozenset())
    with pytest.raises(DeviceFull, match="delete some, or give the collection more"):
        mirror(faulty, budget_bytes=FIXED).admit(1, 1, frozenset())
    mirror(faulty).admit(10**9, 10**6, frozenset())


def test_without_a_budget_new_pages_find_what_is_free_less_a_reserve(
    faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = mirror(faulty)
    monkeypatch.setattr(faulty, "free_bytes", lambda: RESERVE_BYTES + 2 * PAGE_BYTES)
    pages.admit(PAGE, 1, frozenset())
    with pytest.raises(DeviceFull, match="--device-memory"):
        pages.admit(2 * PAGE, 2, frozenset())
    monkeypatch.setattr(faulty, "free_bytes", lambda: 0)
    pages.admit(10, 0, frozenset())
    faulty.problem = DeviceLost("gone")
    with pytest.raises(DeviceLost, match="gone"):
        pages.admit(1, 0, frozenset())


def test_columns_that_come_to_pages_that_are_there_count(faulty: Faulty) -> None:
    budget = FIXED + 12 * 8 + 3 * PAGE_BYTES
    pages = mirror(faulty, budget_bytes=budget)
    rows = Rows(WORDS, page_rows=PAGE, mirror=pages)
    rows.apply(upsert(0, 2 * PAGE))
    assert pages.bytes == budget - PAGE_BYTES
    pages.admit(1, 0, frozenset())
    with pytest.raises(DeviceFull):
        pages.admit(1, 0, frozenset({"tags"}))
    pages = mirror(faulty, budget_bytes=budget)
    pages.admit(1, 0, frozenset({"uncertainties"}))  # not of use there


def test_vectors_on_the_host_take_nothing_of_the_budget(faulty: Faulty) -> None:
    here = mirror(faulty, VectorStore.FLOAT32, budget_bytes=FIXED + 2 * PAGE_BYTES, vectors_on=VectorsOn.HOST)
    here.admit(1, 1, frozenset())
    there = mirror(faulty, VectorStore.FLOAT32, budget_bytes=FIXED + 2 * PAGE_BYTES)
    with pytest.raises(DeviceFull):
        there.admit(1, 1, frozenset())


@pytest.mark.parametrize("room", [0, 3 * STAGING, FIXED + 3 * STAGING + PAGE_BYTES])
def test_without_memory_rows_go_on_and_are_searched_here(
    room: int, faulty: Faulty, caplog: pytest.LogCaptureFixture
) -> None:
    faulty.room, before = room, given_up()
    pages = mirror(faulty)
    rows = Rows(WORDS, page_rows=PAGE, mirror=pages)
    with caplog.at_level(logging.ERROR):
        for serial in range(3):
            rows.apply(upsert(100 * serial, 400, serial))
    rows.apply(deleted(0, 100, 9))
    assert sorted(contents(rows.view)) == list(range(100, 600))
    assert rows.view.mirrored is None
    assert rows.stats().device_bytes == 0
    assert given_up() == before + 1
    assert sum("no longer followed" in line for line in caplog.messages) <= 1
    assert faulty.problem is None
    with pytest.raises(DeviceFull, match="until a restart finds room"):
        pages.admit(1, 0, frozenset())


def test_a_column_that_finds_no_memory(faulty: Faulty) -> None:
    rows = Rows(WORDS, page_rows=PAGE, mirror=mirror(faulty))
    rows.apply(upsert(0, 100))
    check_mirror(faulty, rows.view)
    old, faulty.room = rows.view, 100
    rows.apply(upsert(50, 100, 1, tags=np.arange(100, dtype=np.uint64)))
    assert rows.view.mirrored is None
    check_mirror(faulty, old)  # whoever still reads it can
    assert len(contents(rows.view)) == 150


def test_pinned_vectors_that_find_no_memory_are_plain_ones(faulty: Faulty) -> None:
    pages = mirror(faulty, VectorStore.FLOAT32, vectors_on=VectorsOn.HOST)
    rows = Rows(WORDS, VectorStore.FLOAT32, 5, page_rows=PAGE, mirror=pages)
    faulty.room = 0
    rows.apply(upsert(0, 100, vectors=np.ones((100, 5), np.float32)))
    assert isinstance(pages.problem, DeviceFull)
    assert rows.view.mirrored is None
    assert len(contents(rows.view)) == 100


@pytest.mark.parametrize("who", ["update", "search"])
def test_a_lost_device_leaves_the_rows_right(who: str, faulty: Faulty) -> None:
    lost = []
    faulty.on_lost = lost.append
    rows = Rows(WORDS, page_rows=PAGE, mirror=mirror(faulty))
    rows.apply(upsert(0, 300))
    faulty.lost = True
    if who == "search":
        with pytest.raises(DeviceLost), faulty.guard():
            faulty.launch(None, (1, 1), 0, 0)  # type: ignore[arg-type]
    rows.apply(upsert(200, 300, 1))
    rows.apply(deleted(0, 100, 2))
    assert sorted(contents(rows.view)) == list(range(100, 500))
    assert rows.view.mirrored is None
    assert lost == [faulty.problem]
    with pytest.raises(DeviceLost, match="faulty answers no more"):
        rows.room.reserve(upsert(0, 1, 3), lambda _: pytest.fail("it is refused"))


Open = Callable[[Faulty, int | None], Shard]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    shards: list[Shard] = []
    with ThreadPoolExecutor(1) as background:

        def open_shard(gpu: Faulty, budget: int | None) -> Shard:
            for shard in shards:
                shard.close()
            made = DevicePages(gpu, WORDS, VectorStore.NONE, 0, 65_536, budget_bytes=budget, staging_bytes=STAGING)
            options = ShardOptions(64 * WORDS, 4, Metric.COSINE, VectorStore.NONE, mirror=lambda: made)
            objects = LocalObjects(tmp_path)
            shards.append(Shard(options, objects, "shard", on_applied=lambda: None, background=background))
            return shards[-1]

        yield open_shard
        for shard in shards:
            shard.close()


def test_what_a_shard_has_no_room_for_is_not_logged(faulty: Faulty, opened: Open) -> None:
    page_bytes = PAGE_BYTES // PAGE * 65_536
    shard = opened(faulty, FIXED + 12 * 8 + 2 * page_bytes)
    assert shard.apply(upsert(0, 1000)).result().inserted == 1000
    sequence = shard.sequence
    many = upsert(0, 65_536, 1)
    with pytest.raises(DeviceFull):
        shard.apply(many)
    assert shard.apply(deleted(0, 500, 2)).result().deleted == 500
    assert shard.sequence == sequence + 1
    shard = opened(faulty, None)
    assert shard.stats().rows.rows == 500
    assert shard.apply(many).result().inserted == 65_536 - 1000
    check_mirror(faulty, shard.view)


def test_a_restart_finds_everything_that_was_acked(faulty: Faulty, opened: Open) -> None:
    shard = opened(faulty, None)
    assert shard.apply(upsert(0, 100)).result().inserted == 100
    faulty.lost = True
    assert shard.apply(upsert(50, 100, 1)).result().inserted == 50  # it was durable when the loss was found
    with pytest.raises(DeviceLost):
        shard.apply(upsert(0, 1, 2))
    other = Faulty()
    shard = opened(other, None)
    assert sorted(contents(shard.view)) == list(range(150))
    check_mirror(other, shard.view)
    other.close()
