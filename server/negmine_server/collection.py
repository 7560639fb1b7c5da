"""One collection: encode → fan out → merge → select; routes upserts to its shards by id.

mine:   anchors → funnel (encode, scan in the shards, filters, picker) → negatives
upsert: items → encode → engine (shards by id) → one future per shard
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from negmine.encoder import Codes, Encoder

from negmine_server import metrics
from negmine_server.canary import Canary
from negmine_server.domain import (
    F32,
    I64,
    NO_GROUP,
    NO_ID,
    STEP_MAX,
    Batch,
    Metric,
    Negatives,
    Scoring,
    VectorStore,
    Version,
    Watermark,
)
from negmine_server.encode import Anchors, Encode, on_host, standard_errors
from negmine_server.engine.interface import Engine, Sent
from negmine_server.errors import FingerprintMismatch, IncarnationMismatch, InvalidInput, NotReady
from negmine_server.funnel import Picked, mine
from negmine_server.gate import Gate
from negmine_server.items import Fetched, Items
from negmine_server.options import MineOptions
from negmine_server.rebalance import Rebalancer
from negmine_server.spec import CollectionSpec
from negmine_server.vectors import restored, stored

_STALENESS = metrics.array_histogram(
    "negmine_staleness_steps",
    "How many steps behind the collection's newest the returned negatives are.",
    buckets=(0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000),
)


class Collection:
    """Thread-safe. Created and replaced by the catalog.

    Args:
        incarnation: unique to this collection, whatever its name.
        generation: current attempt of the training run.
        rebalancer: of its buckets; None while the mean is estimated.
        step_ahead_max: how far an upsert's step may be ahead of the newest.
        encoding: gives what makes the codes of upserts, always those of the encoder.
    """

    def __init__(
        self,
        name: str,
        spec: CollectionSpec,
        incarnation: str,
        generation: int,
        engine: Engine,
        rebalancer: Rebalancer | None = None,
        *,
        step_ahead_max: int,
        encoding: Callable[[Encoder], Encode] = on_host,
    ) -> None:
        self.name = name
        self.spec = spec
        self.incarnation = incarnation
        self.generation = generation
        self.encoder: Encoder = spec.encoder()
        self.encode_items = encoding(self.encoder)
        self.engine = engine
        self.rebalancer = rebalancer
        self.canary = Canary(engine, self.encoder, spec.recall_target, spec.seed)
        self.gate = Gate(name)
        self._step_ahead_max = step_ahead_max

    @property
    def watermark(self) -> Watermark:
        """What is durable and visible now."""
        return Watermark(self.incarnation, 0, self.engine.sequences)

    @property
    def newest(self) -> Version:
        """The newest version in it."""
        return Version.unpack(self.engine.newest)

    @property
    def fingerprint(self) -> str:
        """Of the encoder; empty until it is frozen."""
        return "" if self.spec.estimating else self.encoder.fingerprint

    @property
    def rows(self) -> int:
        """Live rows."""
        return sum(shard.rows.rows for shard in self.engine.stats())

    def close(self) -> None:
        """Finishes what is queued, and ends the upkeep of its buckets."""
        if self.rebalancer is not None:
            self.rebalancer.close()
        self.engine.close()

    def check_watermark(self, wanted: Watermark) -> None:
        """Raises IncarnationMismatch where the watermark is another collection's or shard map's."""
        own = self.watermark
        if (wanted.incarnation, wanted.epoch, len(wanted.sequences)) != (
            own.incarnation,
            own.epoch,
            len(own.sequences),
        ):
            raise IncarnationMismatch(
                f"the watermark is {wanted}; {self.name!r} is {own}",
                field="min_watermark",
            )

    # The upsert path.

    def upsert(self, items: Items) -> list[Sent]:
        """Encodes a batch and queues it in its shards.

        Raises:
            InvalidInput: a version out of range, or codes that do not fit the collection.
            FingerprintMismatch: codes of another encoder.
            Overloaded: the encoder is being frozen.
        """
        return self.gate.write(lambda: self.engine.apply(self._batch(items)))

    def _batch(self, items: Items) -> Batch:
        version = self._version(items.generation, items.step)
        codes, vectors = self._encode(items)
        kept, scales = stored(vectors, self.spec.kept_store) if vectors is not None else (None, None)
        return Batch(
            ids=items.ids,
            versions=np.full(len(items.ids), version.pack(), np.int64),
            codes=codes.words,
            corrections=codes.corrections,
            norms=codes.norms if self.spec.metric is Metric.INNER_PRODUCT else None,
            groups=items.groups,
            tags=items.tags,
            uncertainties=items.uncertainties,
            vectors=kept,
            scales=scales,
            writer=items.writer,
            number=items.number,
            time_ms=int(time.time() * 1e3),
        )

    def delete(self, ids: I64, generation: int | None, step: int | None) -> list[Sent]:
        """Queues a delete; without a step, of the newest version. Raises as `upsert`."""
        newest = max(self.newest, Version(self.generation, 0))
        at = newest if step is None else self._version(generation, step)
        versions = np.full(len(ids), at.pack(), np.int64)
        batch = Batch(ids=ids, versions=versions, time_ms=int(time.time() * 1e3))
        return self.gate.write(lambda: self.engine.apply(batch))

    def _version(self, generation: int | None, step: int) -> Version:
        if generation is None:
            generation = self.generation
        if generation > self.generation:
            raise InvalidInput(
                f"version.generation is {generation}; the current one is {self.generation}: call StartGeneration first",
                field="version.generation",
                reason="GENERATION_NOT_STARTED",
            )
        newest = self.newest.step
        if step > min(newest + self._step_ahead_max, STEP_MAX):
            raise InvalidInput(
                f"version.step is {step}, more than {self._step_ahead_max} steps ahead of the newest, {newest}",
                field="version.step",
                reason="STEP_TOO_FAR_AHEAD",
            )
        return Version(generation, step)

    def _encode(self, items: Items) -> tuple[Codes, F32 | None]:
        """Codes, and the vectors to keep."""
        if items.embeddings is not None:
            assert items.lengths is not None
            codes = self.encode_items(items.embeddings, items.lengths)
            if self.spec.kept_store is VectorStore.NONE:
                return codes, None
            return codes, self.encoder.prepare(items.embeddings, items.lengths)
        assert items.codes is not None
        self.check_fingerprint(items.fingerprint)
        if self.spec.kept_store is not VectorStore.NONE:
            raise InvalidInput(
                f"{self.name!r} keeps {self.spec.kept_store.value} vectors; expected embeddings, received codes",
                field="batch.codes",
                reason="EMBEDDINGS_NEEDED",
            )
        return items.codes, None

    def check_fingerprint(self, fingerprint: str) -> None:
        """Raises FingerprintMismatch for codes of another encoder, NotReady while the mean is estimated."""
        if self.spec.estimating:
            raise NotReady(
                f"{self.name!r} has no encoder before the mean of its first {self.spec.estimate_rows} rows is known; "
                "send embeddings",
                reason="ENCODER_NOT_FROZEN",
            )
        if fingerprint != self.encoder.fingerprint:
            raise FingerprintMismatch(
                f"codes are of encoder {fingerprint!r}; {self.name!r} has {self.encoder.fingerprint!r}",
                field="codes.fingerprint",
            )

    def mine(self, anchors: Anchors, options: MineOptions, *, with_vectors: bool, stages: metrics.Stages) -> Negatives:
        """Negatives of B anchors. Runs on one thread; the scan fans out to others."""
        watermark, newest = self.watermark, self.newest  # read first: what is seen is at least this
        picked = mine(anchors, options, self.encoder, self.engine, self.canary, stages)
        with stages.time("fetch"):
            vectors, lengths = self._fetch_picked(picked, with_vectors)
            ungrouped = self._ungrouped(picked, options)
        there = picked.ids != NO_ID
        exact = options.rescore or options.scoring is Scoring.FLOAT
        errors = np.zeros_like(picked.scores)
        if not exact:
            errors = standard_errors(options.scoring, picked.scores, lengths, self.encoder.bits, self.encoder.dimension)
        _STALENESS.observe(np.maximum(newest.step - (picked.versions[there] & STEP_MAX), 0))
        return Negatives(
            ids=picked.ids,
            scores=picked.scores,
            standard_errors=errors,
            versions=picked.versions,
            counts=there.sum(axis=1).astype(np.int32),
            filled=picked.filled,
            positive_scores=picked.positive_scores,
            missing_positives=picked.missing_positives,
            exact=exact,
            drops=picked.drops,
            watermark=watermark,
            newest=newest,
            scanned=picked.scanned,
            vectors=vectors,
            weights=picked.weights,
            fills=picked.fills,
            ungrouped=ungrouped,
        )

    def _ungrouped(self, picked: Picked, options: MineOptions) -> I64:
        """How many picks [B] have no group though their anchor has one."""
        rows, columns = np.nonzero((picked.ids != NO_ID) & (options.groups != NO_GROUP)[:, None])
        if not rows.size:
            return np.zeros(len(picked.ids), np.int64)
        found, items = self.engine.fetch(picked.ids[rows, columns], frozenset({"groups"}))
        groups = items.get("groups", np.full(int(found.sum()), NO_GROUP))
        return np.bincount(rows[found][groups == NO_GROUP], minlength=len(picked.ids))

    def _fetch_picked(self, picked: Picked, with_vectors: bool) -> tuple[F32 | None, F32]:
        """Stored vectors of the picks [B, k, d] where asked for, and |anchor| |item| [B, k]."""
        lengths = np.ones_like(picked.scores)
        by_norm = self.spec.metric is Metric.INNER_PRODUCT
        if not (with_vectors or by_norm):
            return None, lengths
        places = np.flatnonzero(picked.ids != NO_ID)
        fetched = self.fetch(picked.ids.reshape(-1)[places])
        here = places[fetched.found]
        if by_norm and here.size:
            lengths.reshape(-1)[here] = fetched.columns["norms"]
            lengths *= picked.lengths[:, None]
        vectors = None
        if with_vectors:
            assert fetched.vectors is not None
            vectors = np.zeros((*picked.ids.shape, self.spec.dimension), np.float32)
            vectors.reshape(-1, self.spec.dimension)[here] = fetched.vectors
        return vectors, lengths

    def fetch(self, ids: I64) -> Fetched:
        """Items by id."""
        watermark = self.watermark
        found, columns = self.engine.fetch(ids)
        vectors = restored(columns["vectors"], columns.get("scales")) if "vectors" in columns else None
        if vectors is None and self.spec.kept_store is not VectorStore.NONE:
            vectors = np.zeros((0, self.spec.dimension), np.float32)
        return Fetched(found, columns, vectors, watermark)
