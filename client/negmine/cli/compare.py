"""compare: two ways to mine, on the same anchors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Group, RenderableType
from rich.text import Text

import negmine
from negmine.cli import tables
from negmine.cli.anchor_sample import Anchor, groups_of, request_rows, sampled, stacked
from negmine.cli.collections import NAME
from negmine.cli.compare_plot import check_plot, draw
from negmine.cli.comparison import Comparison, Labels, Side
from negmine.cli.mine import check_anchors
from negmine.cli.option_groups import option_groups
from negmine.cli.option_sets import OptionSet, option_set
from negmine.cli.progress import RowProgress
from negmine.cli.rows import AnchorColumns
from negmine.cli.session import Session, session_of
from negmine.cli.sources import Sources


@option_groups
def compare(
    context: typer.Context,
    name: Annotated[str, NAME],
    anchors: Annotated[
        list[str], typer.Argument(metavar="ANCHORS", help=".npy, .npz, .parquet or .jsonl; - is JSON lines on stdin.")
    ],
    a: Annotated[str, typer.Option("--a", metavar="OPTIONS", help="One way, as in 'policy=top'.")],
    b: Annotated[
        str, typer.Option("--b", metavar="OPTIONS", help="Another, as in 'policy=window range_min=10 range_max=60'.")
    ],
    columns: AnchorColumns,
    k: Annotated[int, typer.Option("-k", "--k", help="Negatives an anchor.", min=1)] = 16,
    sample: Annotated[int, typer.Option(help="Anchors, drawn by --seed; 0 = all.", min=0)] = 1000,
    seed: Annotated[int, typer.Option(help="Of the sample, and of both ways unless they say another.")] = 0,
    queries: Annotated[
        bool, typer.Option("--queries", help="Anchors are not items: their ids do not exclude anything.")
    ] = False,
    batch_rows: Annotated[int, typer.Option(help="Anchors a call.", min=1)] = 256,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the distributions too: .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Compare two ways to mine on the same anchors: hardness, overlap, false negatives, time.

    OPTIONS are those of `negmine mine` as words of NAME=VALUE, and the settings of the policy, as in
    'policy=softmax beta=20 percent_of_positive=0.95'. A false negative is an item of the anchor's own group
    (--group-column). So that they can be counted, both ways may return them, unless one says allow_same_group=no.
    """
    session = session_of(context)
    if plot is not None:
        check_plot(plot)
    ways = [option_set(text, name, k, seed=seed, allow_same_group=True) for name, text in (("--a", a), ("--b", b))]
    with Sources(anchors, columns.named()) as sources, session.client() as client:
        info = client.get(name)
        for way in ways:
            check_anchors(sources, way.protected, info, anchors)
        for line in sources.ignored():
            session.note(line)
        chosen = sampled(sources, sample, seed)
        collection = client.collection(name)
        with RowProgress(session, name) as progress:
            batches = [chosen[first : first + batch_rows] for first in range(0, len(chosen), batch_rows)]
            first, second = run(collection, batches, ways, k, own_ids=not queries, progress=progress)
        labels = labels_of(collection, chosen, (first, second)) if sources.has("group") else None
    comparison = Comparison(k, (first, second), labels)
    _notes(session, comparison)
    if plot is not None:
        draw(comparison, plot)
    summary = comparison.summary() | ({} if plot is None else {"plot": plot})
    session.answer(summary, lambda: comparison_table(summary))


def run(
    collection: negmine.Collection,
    batches: Sequence[Sequence[Anchor]],
    ways: Sequence[OptionSet],
    k: int,
    *,
    own_ids: bool,
    progress: RowProgress,
) -> list[Side]:
    """Mines every batch in each way, and takes the time.

    The ways take turns in going first, so that a server that is busy for a while is so for all alike. The first batch
    is asked once before it counts: the server may have to warm up.
    """

    def mine(batch: Sequence[Anchor], way: OptionSet) -> tuple[negmine.Negatives, float]:
        options = way.options.copy()
        options.update(request_rows(batch, own_ids))
        began = time.perf_counter()
        return collection.mine(stacked(batch), k, **options), time.perf_counter() - began

    for way in ways:
        mine(batches[0], way)
    ran: list[list[tuple[negmine.Negatives, float]]] = [[] for _ in ways]
    done = 0
    for number, batch in enumerate(batches):
        for turn in range(len(ways)):
            which = (turn + number) % len(ways)
            ran[which].append(mine(batch, ways[which]))
        done += len(batch)
        progress.show(done, sum(map(len, batches)))
    return [Side.of(way.text, calls) for way, calls in zip(ways, ran, strict=True)]


def labels_of(collection: negmine.Collection, anchors: Sequence[Anchor], sides: Sequence[Side]) -> Labels:
    """Groups of the anchors, and of everything that was returned."""
    ids = np.unique(np.concatenate([side.ids[side.ids >= 0] for side in sides]))
    groups = collection.fetch(ids).groups if ids.size else ids
    return Labels(groups_of(anchors), ids, groups)


def _notes(session: Session, comparison: Comparison) -> None:
    if comparison.labels is None:
        session.note("the anchors have no labels to know false negatives by; --group-column names them")
    elif not (comparison.labels.groups >= 0).any():
        session.note(f"the items of {comparison.collection} have no groups to know false negatives by")
    if len({side.exact_scores for side in comparison.sides}) > 1:
        session.note("one way's scores are exact and the other's estimated from codes: they compare roughly")


_ROWS: dict[str, tuple[str, str]] = {
    "negatives": ("negatives", ",d"),
    "starved": ("starved anchors", ",d"),
    "filled": ("negatives that only fill", ",d"),
    "score_mean": ("score, mean", ".4f"),
    "score_std": ("score, deviation", ".4f"),
    "score_p10": ("score, p10", ".4f"),
    "score_p50": ("score, median", ".4f"),
    "score_p90": ("score, p90", ".4f"),
    "false_negative_rate": ("false negatives", ".2%"),
    "anchors_with_false_negatives": ("anchors with any", ".1%"),
    "call_ms": ("a call, ms", ",.1f"),
    "anchors_per_s": ("anchors/s", ",.0f"),
}


def comparison_table(summary: dict[str, Any]) -> RenderableType:
    """The numbers of both ways side by side, and what they share."""
    head = tables.properties(
        {
            "collection": summary["collection"],
            "anchors": f"{summary['anchors']:,}, {summary['k']:,} negatives each",
            "a": summary["a"]["options"],
            "b": summary["b"]["options"],
        }
    )
    rows = [
        (label, *("–" if summary[side][key] is None else format(summary[side][key], form) for side in "ab"))
        for key, (label, form) in _ROWS.items()
    ]
    overlap = summary["overlap"]
    jaccard = "" if overlap["jaccard"] is None else f" (Jaccard {overlap['jaccard']:.3f})"
    shared = tables.properties(
        {
            "shared": f"{overlap['mean']:.1%} of an anchor's negatives{jaccard}; all of them for "
            f"{overlap['anchors_with_the_same']:.1%} of the anchors, none for {overlap['anchors_with_none_shared']:.1%}"
        }
    )
    return Group(head, Text(), tables.grid({"": "left", "a": "right", "b": "right"}, rows, "nothing"), Text(), shared)


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compare")(compare)
