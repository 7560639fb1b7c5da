"""mine: hard negatives for a file of anchors, as a training set."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer

import negmine
from negmine.cli import tables
from negmine.cli.collections import NAME
from negmine.cli.formats import Layout, OutputFormat
from negmine.cli.mine_options import PolicyOptions, ProtectionOptions, ScanOptions
from negmine.cli.mistakes import ExitCode, Mistake
from negmine.cli.option_groups import option_groups
from negmine.cli.progress import RowProgress
from negmine.cli.provenance import Tally, provenance
from negmine.cli.rows import I64, AnchorColumns, Ragged, Rows
from negmine.cli.session import Session, session_of
from negmine.cli.sinks import STDOUT, Sink, open_sink
from negmine.cli.sources import Sources

_OUT: Final = "Output"


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """What is written, and where."""

    output: Annotated[
        str,
        typer.Option("--output", "-o", help=".parquet or .jsonl; - is JSON lines on stdout.", rich_help_panel=_OUT),
    ]
    format: Annotated[
        OutputFormat,
        typer.Option(
            metavar="NAME",
            help="triplet, n-tuple, labeled-pair or labeled-list, as in sentence-transformers; of ids.",
            rich_help_panel=_OUT,
        ),
    ] = OutputFormat.TRIPLET
    first_positive: Annotated[
        bool,
        typer.Option(
            "--first-positive", help="Write the first positive alone, not a row for each.", rich_help_panel=_OUT
        ),
    ] = False
    drop_starved: Annotated[
        bool, typer.Option("--drop-starved", help="Leave out anchors with fewer than k.", rich_help_panel=_OUT)
    ] = False
    fail_starved: Annotated[
        bool, typer.Option("--fail-starved", help="Exit with 3 where an anchor has fewer than k.", rich_help_panel=_OUT)
    ] = False


@dataclass(frozen=True, slots=True)
class PaceOptions:
    """How much is under way at a time."""

    batch_rows: Annotated[int, typer.Option(help="Anchors a call.", min=1)] = 256
    window: Annotated[int, typer.Option(help="Calls on their way at a time.", min=1)] = 4


@option_groups
def mine(
    context: typer.Context,
    name: Annotated[str, NAME],
    anchors: Annotated[
        list[str], typer.Argument(metavar="ANCHORS", help=".npy, .npz, .parquet or .jsonl; - is JSON lines on stdin.")
    ],
    out: OutputOptions,
    columns: AnchorColumns,
    picked: PolicyOptions,
    protected: ProtectionOptions,
    scan: ScanOptions,
    pace: PaceOptions,
    k: Annotated[int, typer.Option("-k", "--k", help="Negatives an anchor.", min=1)] = 16,
    queries: Annotated[
        bool, typer.Option("--queries", help="Anchors are not items: their ids do not exclude anything.")
    ] = False,
) -> None:
    """Mine hard negatives for anchors and write them as a training set of ids.

    Unless --queries is given, an anchor's id (or row number) is its own id in the collection, and is never returned.
    Columns are found by their usual names; others are named on stderr and ignored.
    Provenance goes into the Parquet metadata under `negmine`, or into OUTPUT.provenance.json beside JSON lines.
    """
    session = session_of(context)
    session.data_on_stdout = out.output == STDOUT
    policy, protection, options = picked.make(k), protected.make(), scan.make()
    options["policy"] = policy
    if protection is not None:
        options["protection"] = protection
    with Sources(anchors, columns.named()) as sources, session.client() as client:
        server, info = client.server_info(), client.get(name)
        check_anchors(sources, protected, info, anchors)
        for line in sources.ignored():
            session.note(line)
        layout = Layout(out.format, k, sources.has("positives"), out.first_positive, out.drop_starved)
        sink = open_sink(out.output, layout.schema)
        run = Run(session, client.collection(name), sources, layout, options, not queries, pace)
        try:
            tally, seconds = run.write(sink)
            asked = {"asked": name, "anchors_from": anchors, "own_ids": not queries, "k": k, "format": out.format}
            asked |= {"policy": described_policy(policy), "protection": protected.described(), "seed": scan.seed}
            asked["options"] = {key: value for key, value in options.items() if key not in asked}
            sink.finish(provenance(tally, info, server, asked))
        finally:
            sink.discard()
    _report(session, tally, seconds, out.output)
    if out.fail_starved and tally.starved:
        raise typer.Exit(ExitCode.PARTIAL)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run over all anchors: batches go out a window ahead, answers are written as they come.

    Attributes:
        session: of the command.
        collection: to mine.
        sources: the anchors.
        layout: of the output.
        options: of every call.
        own_ids: whether the anchors' ids are their own in the collection.
        pace: rows a call, and calls at a time.
    """

    session: Session
    collection: negmine.Collection
    sources: Sources
    layout: Layout
    options: negmine.MineOptions
    own_ids: bool
    pace: PaceOptions

    def write(self, sink: Sink) -> tuple[Tally, float]:
        """Mines and writes everything; the counts, and the seconds it took."""
        tally = Tally()
        waiting: deque[tuple[I64, Ragged | None]] = deque()  # what the answers on their way belong to
        with RowProgress(self.session, self.collection.name) as progress:
            for mined in self.collection.mine_stream(self._batches(waiting), window=self.pace.window):
                ids, positives = waiting.popleft()
                batch = self.layout.batch(ids, positives, mined)
                sink.write(batch)
                tally.add(mined, len(batch))
                progress.show(tally.anchors, self.sources.rows_total())
            return tally, progress.seconds

    def _batches(self, waiting: deque[tuple[I64, Ragged | None]]) -> Iterator[negmine.MineArgs]:
        for rows in self.sources.chunks():
            for first in range(0, len(rows), self.pace.batch_rows):
                part = slice(first, min(first + self.pace.batch_rows, len(rows)))
                ids, positives = _part(rows, part)
                waiting.append((ids, positives))
                args = negmine.MineArgs(anchors=rows.embeddings[part], k=self.layout.k, **self.options)
                if self.own_ids:
                    args["own_ids"] = ids
                if positives is not None:
                    args["positives"] = positives
                if rows.groups is not None:
                    args["groups"] = rows.groups[part]
                yield args


def _part(rows: Rows, part: slice) -> tuple[I64, Ragged | None]:
    """Ids and positives of some of the rows."""
    assert rows.ids is not None
    if rows.positives is None:
        return rows.ids[part], None
    offsets, values = rows.positives
    held = offsets[part.start : part.stop + 1]
    return rows.ids[part], (held - held[0], values[held[0] : held[-1]])


def check_anchors(
    sources: Sources, protected: ProtectionOptions, info: negmine.CollectionInfo, files: list[str]
) -> None:
    """What can be said before the first call.

    Raises:
        Mistake: no anchors, of another dimension, or without the positives that a margin compares with.
    """
    if sources.empty:
        raise Mistake(f"{', '.join(files)}: no anchors to mine for")
    if sources.dimension != info.dimension:
        raise Mistake(f"{files[0]} has embeddings of dimension {sources.dimension}; {info.name} has {info.dimension}")
    margin = protected.needs_positives
    if margin and not sources.has("positives"):
        raise Mistake(
            f"{margin} compares with the anchors' positives, and {files[0]} has none: name them by --positives"
        )


def described_policy(policy: negmine.Policy) -> dict[str, Any]:
    """A policy's name, as --policy has it, and its settings, as JSON has them."""
    settings = {part: getattr(policy, part) for part in type(policy).__dataclass_fields__}
    if isinstance(policy, negmine.Mixed):
        settings["hard"] = described_policy(policy.hard)
    name = re.sub("(?<=[a-z])(?=[A-Z])", "-", type(policy).__name__).lower()
    return {"name": name, **settings}


def _report(session: Session, tally: Tally, seconds: float, output: str) -> None:
    if tally.missing_positives:
        session.note(f"{tally.missing_positives:,} positives are not in {tally.collection}; excluded all the same")
    if tally.starved:
        fewer = ", ".join(f"{count:,} {name}" for name, count in sorted(tally.outcomes.items()) if name != "full")
        session.note(f"{tally.starved:,} of {tally.anchors:,} anchors have fewer negatives than asked: {fewer}")
    if tally.fills:
        session.note(f"{tally.fills:,} negatives only fill the places of starved anchors")
    if tally.ungrouped:
        session.note(f"{tally.ungrouped:,} negatives have no group, so that nobody knows whether it is their anchor's")
    rate = f"{tally.anchors / seconds:,.0f} anchors/s" if seconds else "–"
    drops = ", ".join(f"{count:,} by {reason}" for reason, count in sorted(tally.drops.items()) if count)
    session.answer(
        {**tally.summary(), "output": output, "seconds": round(seconds, 3)},
        lambda: tables.properties(
            {
                "collection": tally.collection,
                "anchors": f"{tally.anchors:,} in {seconds:.2f} s, {rate}",
                "rows": tally.rows,
                "starved": tally.starved,
                "dropped": drops or "none",
                "scores": tally.score_kind,
                "output": output,
            }
        ),
    )


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("mine")(mine)
