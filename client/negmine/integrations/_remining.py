"""Re-mining while sentence-transformers' trainer runs.

How new negatives reach a trainer that is running: it makes its DataLoader once and keeps the data set, so it is the
data set that changes. `RemineCallback.train_dataset` stores row numbers, in every column, and a transform, which
`datasets` applies to rows as they are read, makes them anchor, positive and the present negatives. Those stand in a
table in shared memory, so that workers of a DataLoader see it change too. What a DataLoader drew ahead still has the
former negatives: one batch, or with workers `dataloader_prefetch_factor` batches for each of them. The batch sampler
"no_duplicates" looks at the present negatives, "no_duplicates_hashed" at the first ones.
"""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

import datasets
import numpy as np
import torch
import torch.distributed
import transformers
from numpy.typing import NDArray

from negmine._client import Client
from negmine._collection import Collection
from negmine._exceptions import Aborted, InvalidInput
from negmine.integrations._embeddings import Embedding
from negmine.integrations._mining import mine
from negmine.integrations._pairs import Pairs, pair_columns, read_pairs
from negmine.integrations._rules import I64, Rules
from negmine.integrations._search import Place

logger = logging.getLogger("negmine")

_REFUSED = ("include_positives", "cache_folder")  # no negatives; no fresh embeddings


class RemineCallback(transformers.TrainerCallback):
    """Mines negatives now, and again every `every_n_steps` optimizer steps, with the model as it is then.

        remine = RemineCallback(model, pairs, every_n_steps=500, num_negatives=4, relative_margin=0.05)
        trainer = SentenceTransformerTrainer(
            model, args, train_dataset=remine.train_dataset, loss=loss, callbacks=[remine]
        )

    Where several processes train, the first one mines and the others are told; each needs a callback of its own, made
    with the same arguments.

    Args:
        model: a SentenceTransformer.
        dataset: (anchor, positive) pairs, as `mine_hard_negatives` takes them.
        every_n_steps: between two minings, at least 1.
        anchor_column_name: as there.
        positive_column_name: as there.
        corpus: as there.
        cross_encoder: as there.
        client: of the server; None = `Client()`, on this host.
        collection: to upsert the corpus into, with the trainer's step, so that others can mine there too; None = one
            for each mining, dropped after it.
        **options: the other parameters of `mine_hard_negatives` that choose negatives or embed texts.

    Attributes:
        train_dataset: a datasets.Dataset whose rows are anchor, positive, negative_1 to negative_n, by the latest
            mining; those pairs that had n negatives at first.
        steps: optimizer steps after which was mined; 0 = before training.
        kept: how many rows kept their former negatives in the latest mining, because it found fewer than n.

    Raises:
        InvalidInput: an argument is out of range, or no pair has enough negatives.
    """

    def __init__(
        self,
        model: Any,
        dataset: Any,
        every_n_steps: int,
        *,
        anchor_column_name: str | None = None,
        positive_column_name: str | None = None,
        corpus: list[str] | None = None,
        cross_encoder: Any = None,
        client: Client | None = None,
        collection: Collection | None = None,
        **options: Any,
    ) -> None:
        if every_n_steps < 1:
            raise InvalidInput(f"every_n_steps is {every_n_steps}; expected at least 1", field="every_n_steps")
        if refused := [name for name in _REFUSED if options.get(name)]:
            raise InvalidInput(f"{', '.join(refused)}: not for mining while a model trains", field=refused[0])
        rules = {field.name for field in fields(Rules)}
        self._rules = Rules(**{name: value for name, value in options.items() if name in rules})
        self._embedding = Embedding(**{
            "verbose": False, **{name: value for name, value in options.items() if name not in rules}
        })  # fmt: skip
        self._place = Place(collection, client)
        self._cross_encoder = cross_encoder
        self._every = every_n_steps
        names = pair_columns(dataset.column_names, anchor_column_name, positive_column_name)
        self._pairs = read_pairs(list(dataset[names[0]]), list(dataset[names[1]]), corpus)
        negatives, found = self._mine(model, 0)
        self._rows = np.flatnonzero(found)  # of the pairs
        if not len(self._rows):
            raise InvalidInput(
                f"none of {len(found)} pairs has {self._rules.num_negatives} negatives left", field="num_negatives"
            )
        self._table = torch.from_numpy(negatives[self._rows]).share_memory_()
        columns = (*names, *(f"negative_{place}" for place in range(1, self._rules.num_negatives + 1)))
        numbers = range(len(self._rows))
        self.train_dataset = datasets.Dataset.from_dict(dict.fromkeys(columns, numbers)).with_transform(
            Rows(self._pairs, self._rows, self._table, columns)
        )
        self.steps = [0]
        self.kept = 0

    def on_step_end(self, args: Any, state: Any, control: Any, *, model: Any = None, **_: Any) -> None:
        """Mines where it is time to, unless training ends here."""
        if state.global_step % self._every == 0 and state.global_step < state.max_steps:
            self.remine(model, state.global_step)

    def remine(self, model: Any, step: int) -> None:
        """Mines with the model as it is, and changes `train_dataset`; of all processes that train, at once.

        Raises:
            NegmineError: the server failed; `train_dataset` is as it was.
        """
        negatives, found = self._mine(model, step)
        negatives, found = negatives[self._rows], found[self._rows]
        self._table[torch.from_numpy(found)] = torch.from_numpy(negatives[found])
        self.kept = int((~found).sum())
        self.steps.append(step)
        logger.info("mined at step %d: %d pairs, %d keep their former negatives", step, len(found), self.kept)

    def _mine(self, model: Any, step: int) -> tuple[I64, NDArray[np.bool_]]:
        """Negatives [P, n] of all pairs as rows of the corpus, and which pairs have n of them; the same everywhere."""
        if not torch.distributed.is_available() or not torch.distributed.is_initialized():
            return self._mine_here(model, step)
        told: list[Any] = [None]
        if torch.distributed.get_rank() == 0:
            try:
                told = [self._mine_here(model, step)]
            except BaseException as failure:
                torch.distributed.broadcast_object_list([repr(failure)])  # so that nobody waits for it
                raise
        torch.distributed.broadcast_object_list(told)
        if isinstance(told[0], str):
            raise Aborted(f"mining failed in the first process: {told[0]}")
        found: tuple[I64, NDArray[np.bool_]] = told[0]
        return found

    def _mine_here(self, model: Any, step: int) -> tuple[I64, NDArray[np.bool_]]:
        training = model.training
        try:
            mined = mine(self._pairs, model, self._cross_encoder, self._rules, self._embedding, self._place, step=step)
        finally:
            model.train(training)  # embedding puts it into eval mode
        queries = self._pairs.query_rows
        full: NDArray[np.bool_] = np.logical_and.reduce(mined.found[queries], axis=1)
        return mined.ids[queries], full


class Rows:
    """The transform of `train_dataset`: texts for row numbers, with the negatives that the table holds then."""

    def __init__(self, pairs: Pairs, rows: I64, table: torch.Tensor, columns: tuple[str, ...]) -> None:
        self._pairs, self._rows, self._table, self._columns = pairs, rows, table, columns

    def __call__(self, batch: dict[str, list[int]]) -> dict[str, list[str]]:
        numbers = batch[self._columns[0]]
        pairs, table = self._rows[numbers], self._table[numbers]
        anchors = [self._pairs.queries[row] for row in self._pairs.query_rows[pairs]]
        documents = [self._pairs.positive_rows[pairs].tolist(), *table.T.tolist()]
        texts = [anchors, *([self._pairs.corpus[row] for row in column] for column in documents)]
        return dict(zip(self._columns, texts, strict=True))
