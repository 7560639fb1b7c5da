"""Products and distances among an anchor's candidates, from vectors and from codes, in blocks and tiles."""

from __future__ import annotations

import numpy as np
import pytest
from negmine_server.select import likeness
from negmine_server.select.likeness import Likeness, of_codes, of_vectors


def distances(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors[:, None] - vectors[None, :], axis=2)


def known(random: np.random.Generator, rows: int, width: int) -> Likeness:
    vectors = random.standard_normal((50, 24)) * random.uniform(0.5, 3, (50, 1))
    return of_vectors(random.integers(0, 50, (rows, width)), vectors.astype(np.float32))


@pytest.mark.parametrize("room", [1, 4 << 10, 1 << 20])
def test_blocks_of_vectors(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likeness, "_BLOCK_BYTES", room)
    random = np.random.default_rng(0)
    whole = known(random, 9, 20)
    counts = random.integers(0, 21, 9)
    there = np.arange(20) < counts[:, None]
    seen = 0
    for part, block in whole.blocks():
        assert part.start == seen
        one = random.integers(0, 20, part.stop - part.start)
        products, means = block.to(one), block.mean_distances(there[part])
        for row, at in enumerate(range(part.start, part.stop)):
            vectors = whole.values[whole.rows[at]].astype(float)
            np.testing.assert_allclose(products[row], vectors @ vectors[one[row]], atol=1e-4)
            n = counts[at]
            want = distances(vectors)[:, :n].sum(axis=1)[:n] / max(n - 1, 1)
            np.testing.assert_allclose(means[row, :n], want, atol=2e-3)
        seen = part.stop
    assert seen == 9


def test_an_anchor_is_alike_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = known(np.random.default_rng(1), 40, 30)
    there = np.ones((40, 30), bool)
    alone = [block.mean_distances(there[:1])[0] for row in range(40)
             for _, block in Likeness(whole.rows[[row]], whole.values, whole.lengths, False).blocks()]  # fmt: skip
    together = np.concatenate([block.mean_distances(there[part]) for part, block in whole.blocks()])
    np.testing.assert_array_equal(together, alone)


def test_copies_are_at_no_distance() -> None:
    vectors = np.random.default_rng(2).standard_normal((1, 384)).astype(np.float32)
    ((_, block),) = of_vectors(np.zeros((2, 100), np.int64), vectors).blocks()
    assert not block.mean_distances(np.ones((2, 100), bool)).any()


def test_codes_estimate_the_angle() -> None:
    random = np.random.default_rng(3)
    vectors = random.standard_normal((30, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    signs = vectors @ random.standard_normal((16, 4096)) >= 0
    codes = np.packbits(signs, axis=1, bitorder="little").view(np.uint64)
    lengths = random.uniform(0.5, 2, 30).astype(np.float32)
    rows = np.arange(30)[None]
    for scale, given in ((np.ones(30), None), (lengths, lengths)):
        ((_, block),) = of_codes(rows, codes, given).blocks()
        scaled = vectors * scale[:, None]
        np.testing.assert_allclose(block.to(np.array([4]))[0], scaled @ scaled[4], atol=0.15)
        means = block.mean_distances(np.ones((1, 30), bool))[0]
        np.testing.assert_allclose(means, distances(scaled).sum(axis=1) / 29, atol=0.05)
