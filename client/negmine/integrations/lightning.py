"""Lightning: a callback that upserts what each step embeds, and mines every n steps.

Needs the extra `lightning` (2 or later).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from negmine._collection import Collection
from negmine._exceptions import InvalidInput
from negmine._options import MineArgs
from negmine._results import Negatives, Watermark
from negmine._writer import Writer
from negmine.integrations import _extras

with _extras.needs("lightning"):
    from lightning.pytorch import Callback, LightningModule, Trainer


class MiningCallback(Callback):
    """Keeps a collection as fresh as the model, and mines for the trainer.

        def fresh(outputs, batch):  # training_step returned {"loss": loss, "embeddings": embeddings}
            return {"ids": batch["id"], "items": outputs["embeddings"], "groups": batch["label"]}

        def anchors(trainer, module):
            return [{"anchors": module(x).detach(), "k": 16, "own_ids": ids} for ids, x in chunks]

        callback = MiningCallback(collection, fresh, anchors, data.take_negatives, every_n_steps=100)

    Upserts do not hold the step up: they go out on a stream, and the step waits only while that is full. Before it
    mines, the callback waits until they are all visible. Every process of a distributed run upserts what it embeds and
    mines for itself.

    Args:
        collection: to upsert into and to mine in. Items of an earlier run win over this one's unless it begins another
            generation (`Collection.start_generation`).
        fresh: of the outputs of `training_step` and its batch, makes the arguments of `Writer.send` but for the step:
            ids, items and so on, or None for nothing; None = nothing is upserted.
        anchors: of trainer and module, makes what to mine for: the arguments of `Collection.mine` for each batch. They
            are mined in order, a few at a time; None = nothing is mined.
        receive: gets the Negatives of each batch, in order.
        every_n_steps: optimizer steps between two minings, at least 1; with `anchors`.

    Raises:
        InvalidInput: some of anchors, receive and every_n_steps are missing, or every_n_steps is less than 1.
    """

    def __init__(
        self,
        collection: Collection,
        fresh: Callable[[Any, Any], Mapping[str, Any] | None] | None = None,
        anchors: Callable[[Trainer, LightningModule], Iterable[MineArgs]] | None = None,
        receive: Callable[[Iterable[Negatives]], object] | None = None,
        *,
        every_n_steps: int | None = None,
    ) -> None:
        given = (anchors is not None, receive is not None, every_n_steps is not None)
        if any(given) != all(given):
            raise InvalidInput("expected anchors, receive and every_n_steps together", field="anchors")
        if every_n_steps is not None and every_n_steps < 1:
            raise InvalidInput(f"every_n_steps is {every_n_steps}; expected at least 1", field="every_n_steps")
        self._collection = collection
        self._fresh = fresh
        self._anchors = anchors
        self._receive = receive
        self._every = every_n_steps
        self._mined_step = 0
        self._running = ExitStack()
        self._writer: Writer | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the stream."""
        self._mined_step = trainer.global_step
        if self._fresh is not None:
            self._writer = self._running.enter_context(self._collection.writer())

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Sends what the step embedded, and mines where it is time to."""
        step = trainer.global_step
        items = self._fresh(outputs, batch) if self._fresh is not None else None
        if self._writer is not None and items is not None:
            self._writer.send(**items, step=step)
        # Gradients may be accumulated over several batches of one step.
        if self._every is not None and step % self._every == 0 and step != self._mined_step:
            self._mined_step = step
            self._mine(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Waits for the last ack."""
        self._writer = None
        self._running.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Gives up what is not acked."""
        self._writer = None
        self._running.pop_all().__exit__(type(exception), exception, exception.__traceback__)

    def _mine(self, trainer: Trainer, module: LightningModule) -> None:
        assert self._anchors is not None
        assert self._receive is not None
        mark = None if self._writer is None else self._writer.flush().watermark
        batches = (_after(args, mark) for args in self._anchors(trainer, module))
        self._receive(self._collection.mine_stream(batches))


def _after(args: MineArgs, mark: Watermark | None) -> MineArgs:
    """The arguments, of a state that holds what was upserted."""
    return args if mark is None or "min_watermark" in args else {**args, "min_watermark": mark}
