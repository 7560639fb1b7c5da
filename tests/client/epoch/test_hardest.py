"""The hardest positive of a class and the hardest negative of a batch, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from negmine import epoch
from negmine.epoch import hardest


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=40), st.integers(0, 99), st.sampled_from([1, 3, 1024]))
def test_the_hardest_positive_is_the_least_similar_of_the_label(labels: list[int], seed: int, block: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(labels), 4)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardest, "_BLOCK_ROWS", block)
        found = epoch.hardest_positives(vectors, labels)
    for row, label in enumerate(labels):
        others = [other for other, theirs in enumerate(labels) if theirs == label != -1 and other != row]
        if not others:
            assert found[row] == -1
        else:
            assert found[row] in others
            least = min(float(vectors[row] @ vectors[other]) for other in others)
            assert vectors[row] @ vectors[found[row]] == pytest.approx(least, abs=1e-5)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_the_hardest_negative_is_the_most_similar_of_another_label(kind: str) -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 1, 0, 5, 6])
    anchors, items = random.normal(size=(2, len(labels), 4)).astype(np.float32)
    scores = np.where(labels[:, None] == labels, -np.inf, anchors @ items.T)
    if kind == "torch":
        torch = pytest.importorskip("torch", reason="the loop takes tensors where torch is installed")
        weights = torch.from_numpy(anchors).requires_grad_()
        found = epoch.hardest_in_batch(weights, torch.from_numpy(items), torch.from_numpy(labels))
        assert isinstance(found, torch.Tensor)
        found = found.numpy()
    else:
        found = epoch.hardest_in_batch(anchors, items, labels)
    assert found.tolist() == scores.argmax(1).tolist()


def test_a_batch_of_one_label_has_no_negative() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert epoch.hardest_in_batch(vectors, vectors, np.zeros(3, int)).tolist() == [-1, -1, -1]
