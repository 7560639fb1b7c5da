"""inspect: what became of the nearest items of some anchors, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

import negmine
from negmine.cli.anchor_sample import Anchor, by_ids, parse_ids, request_rows, sampled, stacked
from negmine.cli.collections import NAME
from negmine.cli.explained import Report, cards
from negmine.cli.inspect_table import report_table
from negmine.cli.mine import check_anchors, described_policy
from negmine.cli.mine_options import PolicyOptions, ProtectionOptions, ScanOptions
from negmine.cli.mistakes import Mistake
from negmine.cli.option_groups import option_groups
from negmine.cli.report_html import page
from negmine.cli.rows import AnchorColumns
from negmine.cli.session import Session, session_of
from negmine.cli.sidecar import SidecarOptions
from negmine.cli.sinks import publish, unfinished
from negmine.cli.sources import Sources


@option_groups
def inspect(
    context: typer.Context,
    name: Annotated[str, NAME],
    anchors: Annotated[
        list[str], typer.Argument(metavar="ANCHORS", help=".npy, .npz, .parquet or .jsonl; - is JSON lines on stdin.")
    ],
    columns: AnchorColumns,
    picked: PolicyOptions,
    protected: ProtectionOptions,
    scan: ScanOptions,
    shown: SidecarOptions,
    k: Annotated[int, typer.Option("-k", "--k", help="Negatives an anchor.", min=1)] = 16,
    candidates: Annotated[int, typer.Option(help="Nearest items to show of an anchor.", min=1)] = 32,
    sample: Annotated[int, typer.Option(help="Anchors to show, drawn by --seed.", min=1)] = 8,
    ids: Annotated[str | None, typer.Option(metavar="ID,ID,…", help="Anchors to show, instead of a sample.")] = None,
    queries: Annotated[
        bool, typer.Option("--queries", help="Anchors are not items: their ids do not exclude anything.")
    ] = False,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write one page for a browser, not tables; needs no network.")
    ] = None,
) -> None:
    """Show for some anchors which of their nearest items would be mined, and what keeps the others out.

    Takes the options of `negmine mine`. A --sidecar gives texts and images to show; images are on the page alone.
    """
    session = session_of(context)
    shown.check(queries)
    check_page(html)
    wanted = None if ids is None else parse_ids(ids)
    policy, protection, options = picked.make(k), protected.make(), scan.make()
    options["policy"] = policy
    if protection is not None:
        options["protection"] = protection
    with Sources(anchors, columns.named()) as sources, session.client() as client:
        check_anchors(sources, protected, client.get(name), anchors)
        for line in sources.ignored():
            session.note(line)
        chosen = sampled(sources, sample, scan.seed) if wanted is None else by_ids(sources, wanted)
        options.update(request_rows(chosen, own_ids=not queries))
        explanation = client.collection(name).explain(stacked(chosen), k, candidates=candidates, **options)
    held = cards(chosen, explanation, protection, policy)
    of_items = shown.of_items(_item_ids(held, chosen, queries))
    report = Report(
        collection=explanation.negatives.collection,
        facts=_facts(explanation.negatives, described_policy(policy), protected.described(), k, scan),
        k=k,
        cards=held,
        drops=explanation.negatives.drops,
        of_anchors=shown.of_queries(anchor.id for anchor in chosen) if queries else of_items,
        of_items=of_items,
    )
    _answer(session, report, html)


def check_page(html: str | None) -> None:
    """Raises Mistake where the page cannot be written, before anything is asked of the server."""
    if html is None:
        return
    if Path(html).suffix.lower() not in {".html", ".htm"}:
        raise Mistake(f"--html {html} ends in {Path(html).suffix or 'nothing'!r}; expected .html")
    if not Path(html).absolute().parent.is_dir():
        raise Mistake(f"{html} cannot be written: there is no folder {Path(html).absolute().parent}")


def _item_ids(held: tuple[Any, ...], chosen: list[Anchor], queries: bool) -> set[int]:
    items = {candidate.id for card in held for candidate in card.candidates}
    return items if queries else items | {anchor.id for anchor in chosen}


def _facts(
    mined: negmine.Negatives, policy: dict[str, Any], protection: dict[str, float], k: int, scan: ScanOptions
) -> dict[str, str]:
    """What decided the answer, as text."""
    left_out = {"seed", "priority"} | {name for name in ("pool", "max_scanned") if not getattr(scan, name)}
    others = {name: value for name, value in scan.make().items() if name not in left_out}
    settings = {key: value for key, value in policy.items() if key != "name"}
    return {
        "policy": f"{policy['name']}: {_listed(settings)}" if settings else policy["name"],
        "protection": _listed(protection) or "by ids and groups alone",
        "negatives": f"{k:,} an anchor",
        "scores": "exact" if mined.exact_scores else "estimated from codes",
        "newest": f"step {mined.newest.step:,} of generation {mined.newest.generation}",
        "scan": _listed(others),
        "seed": str(scan.seed),
        "made": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_listed(value) if isinstance(value, dict) else value}" for name, value in values.items())


def _answer(session: Session, report: Report, html: str | None) -> None:
    if html is not None:
        draft = unfinished(Path(html))
        try:
            draft.write_text(page(report), encoding="utf-8")
            publish(draft, Path(html))
        except OSError as wrong:
            draft.unlink(missing_ok=True)
            raise Mistake(f"{html} cannot be written: {wrong.strerror or wrong}") from wrong
        session.note(f"{html}: {len(report.cards):,} anchors, {Path(html).stat().st_size / 1024:,.0f} KiB")
    if html is None or session.as_json:
        session.answer(report.as_json(), lambda: report_table(report))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("inspect")(inspect)
