"""UnReMix as a service against a real server: it learns, by weights that differ, and its uncertainties are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import negmine
import numpy as np
import pytest

pytest.importorskip("torch", reason="the example trains with it")

from examples.trainer_loop import BATCH, DIMENSION, ITEMS, STEPS, K
from examples.unremix import POLICY, train

if TYPE_CHECKING:
    from examples.demo.server import Server


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_it_learns_by_weights_and_stores_its_uncertainty(server: Server) -> None:
    said: list[str] = []
    before, after = train(server.target, said.append)
    assert before < 0.2
    assert after > 0.9
    assert said[0].startswith("step  10  loss ")
    assert said[-1].endswith("of the items carry the trainer's uncertainty")
    with negmine.Client(server.target) as client:
        collection = client.collection("unremix")
        assert client.get("unremix").newest == negmine.Version(1, STEPS)
        told = collection.fetch(np.arange(ITEMS)).uncertainties
        told = told[np.isfinite(told)]
        assert len(told) > ITEMS / 3
        assert told.min() >= 0
        assert told.max() <= 1 + 1e-5
        anchors = np.random.default_rng(0).normal(size=(BATCH, DIMENSION)).astype(np.float32)
        weights = collection.mine(anchors, K, policy=POLICY, return_weights=True).weights
    np.testing.assert_allclose(weights.mean(1), 1, atol=1e-3)
    assert weights.std() > 0.01


def test_no_server_is_an_error_that_names_it() -> None:
    with pytest.raises(negmine.Unavailable):
        train("127.0.0.1:1")
