"""The Lightning callback in real runs of a tiny Trainer."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import grpc
import negmine
import numpy as np
import pytest

pytest.importorskip("lightning", reason="the extra lightning is not installed")

import torch
from fault_wire import status
from lightning.pytorch import LightningModule, Trainer
from negmine.integrations.lightning import MiningCallback

ITEMS, WIDE, BATCH = 48, 16, 6


class Encoder(LightningModule):
    """One matrix, pulled towards 1; returns what it embedded."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, WIDE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, torch.Tensor]:
        embeddings = self(batch[1])
        return {"loss": (embeddings - 1).square().mean(), "embeddings": embeddings.detach()}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class Received:
    """The negatives, and the trainer's step when they came."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self.steps: list[int] = []
        self.negatives: list[list[negmine.Negatives]] = []

    def __call__(self, found: Iterable[negmine.Negatives]) -> None:
        self.steps.append(self.trainer.global_step)
        self.negatives.append(list(found))


INPUTS = torch.from_numpy(np.random.default_rng(0).standard_normal((ITEMS, 8)).astype(np.float32))


def fit(callback: MiningCallback, folder: Path, received: Received | None = None, **arguments: Any) -> Encoder:
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.arange(ITEMS), INPUTS), batch_size=BATCH)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[callback], default_root_dir=folder, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, **arguments,
    )  # fmt: skip
    if received is not None:
        received.trainer = trainer
    module = Encoder()
    trainer.fit(module, loader)
    return module


def embedded(outputs: Any, batch: Any) -> dict[str, Any]:
    return {"ids": batch[0], "items": outputs["embeddings"]}


def anchors(trainer: Trainer, module: LightningModule) -> list[negmine.MineArgs]:
    with torch.no_grad():
        vectors = module(INPUTS)
    return [
        {"anchors": vectors[at : at + 20], "k": 4, "own_ids": torch.arange(at, min(at + 20, ITEMS)), "exact": True}
        for at in range(0, ITEMS, 20)
    ]


def test_each_step_is_upserted_and_every_third_mines(fresh: negmine.Collection, tmp_path: Path) -> None:
    received = Received()
    callback = MiningCallback(fresh, embedded, anchors, received, every_n_steps=3)
    fit(callback, tmp_path, received)
    assert received.steps == [3, 6, 9, 12, 15]  # 16 steps
    for step, batches in zip(received.steps, received.negatives, strict=True):
        assert [len(found.ids) for found in batches] == [20, 20, 8]
        there = min(step * BATCH, ITEMS)  # its own step's items are visible
        assert {found.newest.step for found in batches} == {step}
        returned = torch.cat([found.ids for found in batches])
        assert int(returned.max()) < there
        assert bool((returned != torch.arange(ITEMS)[:, None]).all())
    stored = fresh.fetch(np.arange(ITEMS))
    np.testing.assert_array_equal(stored.steps, 9 + np.arange(ITEMS) // BATCH)  # the second epoch's


def test_gradients_that_are_accumulated_mine_once_a_step(fresh: negmine.Collection, tmp_path: Path) -> None:
    received = Received()
    fit(
        MiningCallback(fresh, embedded, anchors, received, every_n_steps=2),
        tmp_path, received, accumulate_grad_batches=2,
    )  # fmt: skip
    assert received.steps == [2, 4, 6, 8]


def test_it_may_only_upsert_or_only_mine(fresh: negmine.Collection, tmp_path: Path) -> None:
    fit(MiningCallback(fresh, lambda outputs, batch: embedded(outputs, batch) if batch[0][0] else None), tmp_path)
    assert fresh.info().rows == ITEMS - BATCH
    received = Received()
    fit(MiningCallback(fresh, None, anchors, received, every_n_steps=8), tmp_path, received)
    assert received.steps == [8, 16]


def test_an_error_ends_the_training_and_the_stream(faulty: Any, client: negmine.Client, tmp_path: Path) -> None:
    faulty.faults.upserts.extend(["apply", "apply", status(grpc.StatusCode.INTERNAL, "the disk is on fire")])
    with pytest.raises(negmine.Internal, match="on fire"):
        fit(MiningCallback(client.collection("c"), embedded), tmp_path)
    assert not [thread for thread in threading.enumerate() if "negmine" in thread.name]


def test_bad_input_is_named(fresh: negmine.Collection) -> None:
    with pytest.raises(negmine.InvalidInput, match="anchors, receive and every_n_steps together"):
        MiningCallback(fresh, embedded, anchors, every_n_steps=2)
    with pytest.raises(negmine.InvalidInput, match="every_n_steps is 0"):
        MiningCallback(fresh, embedded, anchors, print, every_n_steps=0)
