"""upsert: rows of files into a collection."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import typer

import negmine
from negmine.cli import tables
from negmine.cli.collections import NAME, Spec
from negmine.cli.mistakes import Mistake
from negmine.cli.option_groups import option_groups
from negmine.cli.progress import RowProgress
from negmine.cli.rows import ItemColumns
from negmine.cli.session import Session, session_of
from negmine.cli.sources import Sources


@option_groups
def upsert(
    context: typer.Context,
    name: Annotated[str, NAME],
    files: Annotated[
        list[str], typer.Argument(metavar="FILES", help=".npy, .npz, .parquet or .jsonl; - is JSON lines on stdin.")
    ],
    columns: ItemColumns,
    spec: Spec,
    step: Annotated[int, typer.Option(help="Model step that made the embeddings; higher steps win.")] = 0,
    generation: Annotated[
        int | None, typer.Option(help="Attempt of the training run. Unset: the collection's current one.")
    ] = None,
    first_id: Annotated[int, typer.Option(help="Id of the first row, where files have no ids.")] = 0,
    create: Annotated[
        bool, typer.Option("--create", help="Create the collection where it does not exist, with the options below.")
    ] = False,
) -> None:
    """Put rows of files into a collection; done when they are durable and visible to every later mine.

    Running it again is harmless: the same rows are written again. Columns are found by their usual names; others are
    named on stderr and ignored.
    """
    session = session_of(context)
    with Sources(files, columns.named(), first_id) as sources, session.client() as client:
        if sources.empty:
            raise Mistake(f"{', '.join(files)}: no rows to put in")
        info = _collection(session, client, name, sources.dimension, spec if create else None)
        _check_settings(context, info, spec)
        if info.dimension != sources.dimension:
            raise Mistake(
                f"{files[0]} has embeddings of dimension {sources.dimension}; {info.name} has {info.dimension}"
            )
        for line in sources.ignored():
            session.note(line)
        version = {"step": step, "generation": generation}
        result, seconds = _send(session, client.collection(name), sources, version)
    counts = {
        "inserted": result.inserted,
        "overwritten": result.overwritten,
        "stale": result.stale,
        "duplicate": result.duplicate,
    }
    summary = {"collection": info.name, "rows": result.rows, **counts, "watermark": result.watermark}
    rate = f"{result.rows / seconds:,.0f} rows/s" if seconds else "–"
    session.answer(
        {**summary, "seconds": round(seconds, 3)},
        lambda: tables.properties(
            {"collection": info.name, "rows": f"{result.rows:,} in {seconds:.2f} s, {rate}"}
            | {counted: value for counted, value in counts.items() if value or counted == "inserted"}
        ),
    )


def _collection(
    session: Session, client: negmine.Client, name: str, dimension: int, spec: Spec | None
) -> negmine.CollectionInfo:
    """The collection; created by `spec` where it is missing."""
    try:
        return client.get(name)
    except negmine.NotFound as missing:
        if spec is None:
            raise negmine.NotFound(
                f"{missing.message}: add --create, or negmine create {name} --dimension {dimension}",
                code=missing.code,
                reason=missing.reason,
                field=missing.field,
            ) from missing
    info = spec.create(client, name, dimension, exist_ok=True)
    session.note(f"created {info.name}: {info.dimension} dimensions, {info.bits} bits, {info.metric}")
    return info


def _check_settings(context: typer.Context, info: negmine.CollectionInfo, spec: Spec) -> None:
    """Whether the collection is as the options say that were given; the others are for a new one."""
    sources = {part.name: context.get_parameter_source(part.name) for part in fields(Spec)}
    given = {name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"}
    differing = spec.differences(info, given=given)
    if differing:
        raise Mistake(f"{info.name} exists with other settings: {differing}; leave them out, or create another")


def _send(
    session: Session, collection: negmine.Collection, sources: Sources, version: dict[str, Any]
) -> tuple[negmine.UpsertResult, float]:
    """Sends every row; what became of them, and the seconds it took."""
    with RowProgress(session, collection.name) as progress:
        writer = collection.writer(on_ack=lambda result: progress.show(result.rows, sources.rows_total()))
        try:
            with writer:
                for rows in sources.chunks():
                    writer.send(
                        rows.ids,
                        rows.embeddings,
                        groups=rows.groups,
                        tags=rows.tags,
                        uncertainties=rows.uncertainties,
                        **version,
                    )
                result = writer.flush()
        except (KeyboardInterrupt, Mistake, negmine.NegmineError):
            if writer.result.rows:
                session.note(f"at least {writer.result.rows:,} rows are in; running again is harmless")
            raise
        return result, progress.seconds


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("upsert")(upsert)
