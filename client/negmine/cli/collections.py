"""create, list, stats, snapshot and drop: whole collections."""

from __future__ import annotations

import math
import sys
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

import typer

import negmine
from negmine.cli import tables
from negmine.cli.mistakes import Mistake
from negmine.cli.option_groups import option_groups
from negmine.cli.session import Session, session_of

NAME: Final = typer.Argument(metavar="NAME", help="Collection or alias.", show_default=False)
_PANEL: Final = "Collection"


class Metric(StrEnum):
    """What is compared."""

    COSINE = "cosine"
    INNER_PRODUCT = "inner_product"


class Vectors(StrEnum):
    """What is kept beside the codes."""

    NONE = "none"
    INT8 = "int8"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


@dataclass(frozen=True, slots=True)
class Spec:
    """What a new collection is, beside its dimension."""

    bits: Annotated[int, typer.Option(help="Bits of a code, a multiple of 64.", rich_help_panel=_PANEL)] = 256
    metric: Annotated[Metric, typer.Option(metavar="NAME", help="cosine or inner_product.", rich_help_panel=_PANEL)] = (
        Metric.COSINE
    )
    vectors: Annotated[
        Vectors,
        typer.Option(
            metavar="NAME",
            help="Kept beside the codes for rescoring and exact scores: none, int8, float16 or float32.",
            rich_help_panel=_PANEL,
        ),
    ] = Vectors.NONE
    encoder_seed: Annotated[
        int, typer.Option("--seed", help="Seed of the encoder's rotation.", rich_help_panel=_PANEL)
    ] = 0
    shards: Annotated[int, typer.Option(help="A power of two; 0 = the server's choice.", rich_help_panel=_PANEL)] = 0
    estimate_mean_rows: Annotated[
        int | None,
        typer.Option(help="Estimate the mean to subtract from this many first rows.", rich_help_panel=_PANEL),
    ] = None
    recall_target: Annotated[
        float | None,
        typer.Option(
            help="Share of the exact answer to find where a search names none, in (0, 1].", rich_help_panel=_PANEL
        ),
    ] = None

    def create(self, client: negmine.Client, name: str, dimension: int, *, exist_ok: bool) -> negmine.CollectionInfo:
        """Creates the collection and describes it.

        Raises:
            AlreadyExists: its name is taken; with `exist_ok`, the settings that differ are named.
        """
        try:
            return self._create(client, name, dimension, exist_ok=exist_ok)
        except negmine.AlreadyExists as taken:
            info = client.get(name) if exist_ok else None
            differing = "" if info is None or info.name != name else self.differences(info, dimension=dimension)
            if not differing:
                raise
            raise negmine.AlreadyExists(
                f"{taken.message}, with other settings: {differing}", reason=taken.reason, field=taken.field
            ) from taken

    def differences(
        self, info: negmine.CollectionInfo, *, dimension: int | None = None, given: Container[str] | None = None
    ) -> str:
        """Settings of a collection that are not as asked here, for a message; empty where all are.

        Args:
            info: the collection.
            dimension: asked for; None = not compared.
            given: names of the fields to compare; None = all. What is left to the server is never compared.
        """
        held_rows = None if info.estimate_mean is None else info.estimate_mean.rows
        recall_target = info.recall_target
        if self.recall_target is not None and not math.isclose(self.recall_target, recall_target, rel_tol=1e-6):
            recall_target = self.recall_target
        compared: dict[str, tuple[str, object, object]] = {
            "dimension": ("--dimension", info.dimension, info.dimension if dimension is None else dimension),
            "bits": ("--bits", info.bits, self.bits),
            "metric": ("--metric", info.metric, self.metric.value),
            "vectors": ("--vectors", info.vectors, self.vectors.value),
            "encoder_seed": ("--seed", info.seed, self.encoder_seed),
            "shards": ("--shards", info.shards, self.shards or info.shards),
            "estimate_mean_rows": ("--estimate-mean-rows", held_rows, self.estimate_mean_rows),
            "recall_target": ("--recall-target", info.recall_target, recall_target),
        }
        return ", ".join(
            f"{option} is {'not set' if held is None else held}, not {'unset' if asked is None else asked}"
            for field, (option, held, asked) in compared.items()
            if held != asked and (given is None or field in given)
        )

    def _create(self, client: negmine.Client, name: str, dimension: int, *, exist_ok: bool) -> negmine.CollectionInfo:
        rows = self.estimate_mean_rows
        return client.create_collection(
            name,
            dimension,
            bits=self.bits,
            metric=self.metric.value,
            vectors=self.vectors.value,
            seed=self.encoder_seed,
            mean=None if rows is None else negmine.EstimateMean(rows),
            shards=self.shards,
            recall_target=self.recall_target,
            exist_ok=exist_ok,
        ).info()


@option_groups
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Letters, digits, '_', '-', '.'; at most 64.")],
    spec: Spec,
    dimension: Annotated[int, typer.Option(help="Length of the embeddings.", rich_help_panel=_PANEL)],
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Succeed where it exists with the same settings.")
    ] = False,
) -> None:
    """Create an empty collection."""
    session = session_of(context)
    with session.client() as client:
        info = spec.create(client, name, dimension, exist_ok=exist_ok)
    session.answer(info, lambda: tables.collection_table(info))


def list_(context: typer.Context) -> None:
    """List collections with their aliases."""
    session = session_of(context)
    with session.client() as client:
        infos, aliases = client.list_collections(), client.list_aliases()
    session.answer({"collections": infos, "aliases": aliases}, lambda: tables.collections_table(infos, aliases))


def stats(context: typer.Context, name: Annotated[str, NAME]) -> None:
    """Show a collection with its counts, sizes, recall, and a histogram of its buckets."""
    session = session_of(context)
    with session.client() as client:
        found = client.collection(name).stats()
    session.answer(found, lambda: tables.stats_table(found))


def snapshot(context: typer.Context, name: Annotated[str, NAME]) -> None:
    """Write a snapshot of every shard and trim the logs behind it."""
    session = session_of(context)
    with session.client() as client:
        made = client.collection(name).snapshot()
    session.answer(
        made,
        lambda: tables.properties(
            {"snapshot of": name, "rows": made.rows, "size": tables.size(made.size_bytes), "logs trimmed": made.trimmed}
        ),
    )


def drop(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Collection; an alias is refused.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Drop a collection and what is stored of it."""
    session = session_of(context)
    with session.client() as client:
        rows = client.get(name).rows
        if not yes:
            _confirm(session, f"{name} has {rows:,} rows")
        client.drop_collection(name)
    session.answer({"dropped": name, "rows": rows}, lambda: tables.properties({"dropped": name, "rows": rows}))


def _confirm(session: Session, what: str) -> None:
    if session.as_json or not sys.stdin.isatty():
        raise Mistake(f"{what}, and nobody is there to be asked; add --yes to drop it")
    if not typer.confirm(f"{what}. Drop it for good?", err=True):
        raise Mistake("nothing was dropped")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("create")(create)
    app.command("list")(list_)
    app.command("stats")(stats)
    app.command("snapshot")(snapshot)
    app.command("drop")(drop)
