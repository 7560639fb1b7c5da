"""A plan's works on a device name every pair of the plan once, and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from negmine_server.scan.plan import Plan

torch = pytest.importorskip("torch")

from negmine_server.device.gpu import Gpu
from negmine_server.scan.cuda.block import TILE_ROWS
from negmine_server.scan.cuda.plans import works_of, worth_following


class NoLauncher:
    """Making works launches no kernel of ours."""

    def prepare(self, kernels: object) -> None: ...

    def launch(self, kernel: object, blocks: object, argument: int, number: int) -> None: ...


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu(torch.device("cpu"), NoLauncher())


def random_plan(rng: np.random.Generator, steps: int, blocks: int, anchors: int) -> Plan:
    lengths = rng.integers(0, 5, steps)
    starts = np.cumsum(lengths) - lengths
    sizes = rng.integers(0, anchors + 1, steps)
    queries = [np.sort(rng.permutation(anchors)[:size]) for size in sizes]
    return Plan(
        rng.permutation(blocks)[: lengths.sum()] * TILE_ROWS,
        np.full(lengths.sum(), TILE_ROWS),
        starts,
        starts + lengths,
        np.append(0, np.cumsum(sizes)),
        np.concatenate([np.empty(0, np.int64), *queries]).astype(np.int32),
    )


@pytest.mark.parametrize(("multiple", "most"), [(16, 64), (16, 16), (64, 1024)])
@pytest.mark.parametrize("seed", range(8))
def test_works_name_the_pairs_of_the_plan(gpu: Gpu, seed: int, multiple: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    plan = random_plan(rng, steps=1 + 5 * (seed % 4), blocks=200, anchors=1 + 23 * (seed % 5))
    made = works_of(gpu, plan, multiple, most)
    anchors = made.slot_anchors.numpy()
    got: Counter[tuple[int, int]] = Counter()
    for tile, first, slots, unused in made.works.tolist():
        assert unused == 0
        assert first % multiple == slots % multiple == 0
        assert 0 < slots <= most
        for anchor in anchors[first : first + slots].tolist():
            if anchor >= 0:
                got[tile, anchor] += 1
    expected: Counter[tuple[int, int]] = Counter()
    for step in range(len(plan.starts)):
        for block in plan.blocks[plan.starts[step] : plan.stops[step]].tolist():
            for anchor in plan.queries[plan.query_offsets[step] : plan.query_offsets[step + 1]].tolist():
                expected[block // TILE_ROWS, anchor] += 1
    assert got == expected


def test_a_plan_is_followed_where_it_is_much_less_than_everything() -> None:
    few = Plan(np.arange(10) * TILE_ROWS, np.full(10, 1), np.array([0]), np.array([10]), np.array([0, 8]), np.arange(8))
    assert worth_following(few, tiles=100, anchors=8, multiple=16)
    assert not worth_following(few, tiles=15, anchors=8, multiple=16)
