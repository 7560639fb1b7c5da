"""Re-mining in a real run of sentence-transformers' trainer, on the CPU."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import negmine
import numpy as np
import pytest

pytest.importorskip("sentence_transformers", reason="the extra sentence-transformers is not installed")
pytest.importorskip("accelerate", reason="the extra sentence-transformers is not installed")

import tiny_models
import torch
from negmine.integrations._search import Place
from negmine.integrations.sentence_transformers import RemineCallback, mine_hard_negatives
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.util import mine_hard_negatives as theirs

EVERY = 4
BATCH = 8


class Watch:
    """What the collator is handed, and what was true then."""

    def __init__(self, collator: Any, remine: RemineCallback) -> None:
        self.collator, self.remine = collator, remine
        self.batches: list[tuple[int, list[dict[str, str]]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collator, name)

    def __call__(self, rows: list[dict[str, str]]) -> Any:
        self.batches.append((self.remine.steps[-1], rows))
        return self.collator(rows)


def negatives_of(dataset: Any) -> set[tuple[str, ...]]:
    return {tuple(row.values()) for row in dataset}


def train(model: Any, remine: RemineCallback, folder: Path, **arguments: Any) -> Watch:
    args = SentenceTransformerTrainingArguments(
        output_dir=str(folder), learning_rate=0.3, report_to=[], seed=1,
        save_strategy="no", disable_tqdm=True, use_cpu=True, dataloader_pin_memory=False,
        **{"num_train_epochs": 3, "per_device_train_batch_size": BATCH, **arguments},
    )  # fmt: skip
    trainer = SentenceTransformerTrainer(
        model, args, train_dataset=remine.train_dataset, loss=MultipleNegativesRankingLoss(model), callbacks=[remine]
    )
    watch = trainer.data_collator = Watch(trainer.data_collator, remine)
    trainer.train()
    return watch


def test_a_running_trainer_gets_what_the_present_model_finds(live: negmine.Client, tmp_path: Path) -> None:
    model, pairs = tiny_models.static_model(), tiny_models.pairs()
    collection = live.create_collection(f"remined-{uuid.uuid4().hex}", 24, vectors="float32")
    options = {"num_negatives": 2, "range_min": 1}
    remine = RemineCallback(model, pairs, EVERY, collection=collection, **options)
    mined = {0: negatives_of(theirs(pairs, model, output_format="n-tuple", verbose=False, **options))}
    assert negatives_of(remine.train_dataset) == mined[0]

    remined = remine.remine

    def record(present: Any, step: int) -> None:
        """Beside it, what sentence-transformers itself mines with the model of that step."""
        assert present.training
        remined(present, step)
        assert present.training
        mined[step] = negatives_of(theirs(pairs, present, output_format="n-tuple", verbose=False, **options))
        assert negatives_of(remine.train_dataset) == mined[step]

    remine.remine = record
    watch = train(model, remine, tmp_path)
    assert remine.steps == list(mined) == [0, 4, 8, 12]
    assert len({frozenset(found) for found in mined.values()}) == 4  # the model moved
    for step, rows in watch.batches:
        assert {tuple(row.values()) for row in rows} <= mined[step]
    assert sum(step == 0 for step, _ in watch.batches) == EVERY + 1  # one was drawn ahead
    assert {step for step, _ in watch.batches} == {0, 4, 8, 12}
    assert collection.info().newest.step == 12
    collection.drop()


def test_workers_of_the_data_loader_see_it_too(live: negmine.Client, tmp_path: Path) -> None:
    """One epoch with one worker, which was started before anything was mined again."""
    model, pairs = tiny_models.static_model(), tiny_models.pairs(64)
    remine = RemineCallback(model, pairs, 2, client=live, num_negatives=1)
    first = negatives_of(remine.train_dataset)
    seen: list[set[tuple[str, ...]]] = []

    loader = torch.utils.data.DataLoader(
        remine.train_dataset, batch_size=4, num_workers=1, collate_fn=list, prefetch_factor=2
    )
    with torch.no_grad():
        for step, rows in enumerate(loader):
            seen.append({tuple(row.values()) for row in rows})
            if step == 2:
                model[0].embedding.weight.copy_(torch.randn_like(model[0].embedding.weight))
                remine.remine(model, step)
    again = negatives_of(remine.train_dataset)
    assert all(rows <= first for rows in seen[:3])
    assert all(rows <= again for rows in seen[3 + 2 + 1 :])
    assert not any(rows <= first for rows in seen[3 + 2 + 1 :])


def test_rows_that_find_too_few_keep_their_former_negatives(live: negmine.Client) -> None:
    model, pairs = tiny_models.static_model(), tiny_models.pairs()
    remine = RemineCallback(model, pairs, 1, client=live, num_negatives=3, absolute_margin=0.2, range_max=10)
    before = {tuple(row.values())[:2]: tuple(row.values()) for row in remine.train_dataset}
    assert 0 < len(before) < 39
    other = tiny_models.static_model(seed=8)
    remine.remine(other, 1)
    after = {tuple(row.values())[:2]: tuple(row.values()) for row in remine.train_dataset}
    fresh = mine_hard_negatives(
        pairs, other, client=live, num_negatives=3, absolute_margin=0.2, range_max=10, output_format="n-tuple"
    )
    mined = {tuple(row.values())[:2]: tuple(row.values()) for row in fresh}
    assert after == {pair: mined.get(pair, before[pair]) for pair in before}
    assert remine.kept == len(before.keys() - mined.keys()) > 0


@pytest.mark.parametrize("sampler", ["no_duplicates", "no_duplicates_hashed"])
def test_batch_samplers_that_read_the_rows_work(live: negmine.Client, tmp_path: Path, sampler: str) -> None:
    model = tiny_models.static_model()
    remine = RemineCallback(model, tiny_models.pairs(), EVERY, client=live)
    assert remine.train_dataset.column_names == ["query", "answer", "negative_1", "negative_2", "negative_3"]
    train(model, remine, tmp_path, num_train_epochs=1, batch_sampler=sampler, per_device_train_batch_size=3)
    assert remine.steps == [0, 4, 8, 12]


def test_a_server_that_dies_ends_the_training_with_its_error(live: negmine.Client, tmp_path: Path) -> None:
    model = tiny_models.static_model()
    remine = RemineCallback(model, tiny_models.pairs(), 2, client=live)
    remine._place = Place(client=negmine.Client("127.0.0.1:1", retry=negmine.Retry(1)))
    with pytest.raises(negmine.Unavailable):
        train(model, remine, tmp_path, num_train_epochs=1)
    assert remine.steps == [0]


def test_bad_input_is_named(live: negmine.Client) -> None:
    model, pairs = tiny_models.static_model(), tiny_models.pairs(8)
    for wrong, message in (
        ({"every_n_steps": 0}, "every_n_steps is 0"),
        ({"cache_folder": "x"}, "cache_folder: not for mining while a model trains"),
        ({"num_negatives": 20}, "none of 7 pairs has 20 negatives left"),
    ):
        with pytest.raises(negmine.InvalidInput, match=message):
            RemineCallback(model, pairs, **{"every_n_steps": 5, "client": live, **wrong})
    with pytest.raises(TypeError, match="no_such"):
        RemineCallback(model, pairs, 5, client=live, no_such=1)
    assert np.all([not one.name.startswith("mine-hard-negatives-") for one in live.list_collections()])
