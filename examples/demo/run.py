"""The demo: a real corpus into a real server, hard negatives out, and the same ones after a SIGKILL.

    python -m examples.demo.run [--corpus wordnet|glove] [--full] [--rows N]

Exit codes: 0; 1 = a step failed, the last lines say which and why; 2 = wrong arguments; 128 + n = ended by signal n.
Whatever happens, the server is gone and the temporary folder removed when it ends.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import negmine
import numpy as np
from rich.console import Console
from rich.padding import Padding
from rich.progress import Progress
from rich.text import Text

from examples.demo import CorpusError, load
from examples.demo import questions as ask
from examples.demo.interrupts import Interrupted, Interrupts
from examples.demo.measure import measure
from examples.demo.metrics_page import page, read_metrics
from examples.demo.server import Server, ServerFailed
from examples.demo.tables import comparison, hard_negatives, latencies

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from examples.demo.corpus import I64, Corpus

COLLECTION = "demo"
BITS = 256
K_SHOWN = 4
K_MEASURED = 16
CALLS = 5
COMPARED_ANCHORS = 5
INDENT = (0, 0, 0, 3)


class StepFailed(Exception):
    """A step of the demo failed; the message says which and why."""


class Demo:
    """The steps, in order; each prints what it does."""

    def __init__(self, console: Console, server: Server) -> None:
        self.console = console
        self.server = server
        self._steps = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Names a step, and says so where it fails."""
        self._steps += 1
        self.console.print(f"\n[bold cyan]{self._steps}.[/] [bold]{title}[/]")
        try:
            yield
        except (negmine.NegmineError, CorpusError, ServerFailed, StepFailed, OSError) as error:
            raise StepFailed(f"step {self._steps} ({title}) failed: {error}") from error

    def say(self, text: str) -> None:
        """One indented line."""
        self.console.print(Padding(Text(text), INDENT))

    def run(self, name: str, size: int | None) -> None:
        """All steps, over corpus `name`, or `size` rows of it."""
        with self.step("Start a server on free ports, with an empty data folder"):
            self._start()
        with self.step("Prepare the corpus"):
            corpus, rows = self._prepare(name, size)
        with negmine.Client(self.server.target) as client:
            with self.step("Stream it into a collection"):
                collection = self._stream(client, corpus, rows)
            with self.step("Mine hard negatives that are safe to train on"):
                shown = self._mine(collection, corpus, rows)
            with self.step("Measure"):
                batch = self._measure(collection, corpus, rows)
            with self.step("Look at the metrics"):
                self._metrics()
            requests = [ask.protected(corpus, shown, K_SHOWN), batch]
            with self.step("Kill the server with SIGKILL, and start it again"):
                before = [collection.mine(**request) for request in requests]
                self._kill()
        with self.step("Ask the same again"), negmine.Client(self.server.target) as client:
            self._compare(client.collection(COLLECTION), len(rows), requests, before)
        with self.step("Stop the server with SIGTERM"):
            self.say(f"it drained and ended in {self.server.stop():.2f} s")

    def _start(self) -> None:
        with self.console.status("starting; the first start of all compiles the kernels"):
            took = self.server.start()
        self.say(f"process {self.server.pid} serves after {took:.1f} s")
        self.say(f"gRPC {self.server.target}, metrics {self.server.metrics_url}")

    def _prepare(self, name: str, size: int | None) -> tuple[Corpus, I64]:
        begin = time.perf_counter()
        with self.console.status("reading"):
            corpus = load(name)
        rows = ask.choose_rows(corpus, size)
        took = time.perf_counter() - begin
        of = "" if len(rows) == corpus.rows else f" of its {corpus.rows:,}"
        self.say(f"{corpus.name}: {len(rows):,}{of} rows × {corpus.dimension} dimensions, read in {took:.1f} s")
        self.say(corpus.notice)
        return corpus, rows

    def _stream(self, client: negmine.Client, corpus: Corpus, rows: I64) -> negmine.Collection:
        client.wait_until_ready()
        collection = client.create_collection(COLLECTION, corpus.dimension, bits=BITS, vectors="int8")
        ids, vectors, groups = corpus.ids[rows], corpus.vectors[rows], corpus.labels[rows]
        with Progress(console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task("upsert", total=len(rows))
            begin = time.perf_counter()
            result = collection.upsert(
                ids, vectors, groups=groups, on_ack=lambda acked: progress.update(task, completed=acked.rows)
            )
            took = time.perf_counter() - begin
        if result.inserted != len(rows):
            raise StepFailed(f"{len(rows):,} rows were sent, but {result.inserted:,} inserted: {result}")
        self.say(f"{len(rows):,} rows in {took:.2f} s: {len(rows) / took:,.0f} rows/s, each durable when acked")
        memory = sum(sum(shard.memory_bytes.values()) for shard in collection.stats().shards)
        self.say(f"{BITS}-bit codes and int8 vectors: {memory / len(rows):,.0f} bytes a row in memory")
        return collection

    def _mine(self, collection: negmine.Collection, corpus: Corpus, rows: I64) -> I64:
        shown = corpus.shown
        request = ask.protected(corpus, shown, K_SHOWN)
        negatives = collection.mine(**request)
        self.say(ask.explain(corpus))
        self.console.print(hard_negatives(corpus, shown, negatives, ask.random_rows(corpus, shown, rows)))
        drops = ", ".join(f"{count:,} {reason}" for reason, count in negatives.drops.items() if count)
        self.say(f"left out on the way: {drops or 'nothing'}")
        if not negatives.counts.any():
            raise StepFailed("not one negative came back")
        self._show_change(collection, corpus, request, negatives)
        return shown

    def _show_change(
        self, collection: negmine.Collection, corpus: Corpus, request: negmine.MineArgs, before: negmine.Negatives
    ) -> None:
        """A second small table: the same question, asked in another way."""
        change = ask.change(corpus, corpus.shown, request)
        after = collection.mine(**change.request)
        self.console.print()
        self.console.print(comparison(corpus, corpus.shown[:COMPARED_ANCHORS], change, before, after))
        found = before.ids[before.ids >= 0]
        kept = sum(np.isin(old[old >= 0], new).sum() for old, new in zip(before.ids, after.ids, strict=True))
        self.say(f"{found.size - int(kept)} of {found.size} negatives are others now")

    def _measure(self, collection: negmine.Collection, corpus: Corpus, rows: I64) -> negmine.MineArgs:
        batches = list(ask.anchor_batches(corpus, rows, CALLS))
        safe = [ask.protected(corpus, batch, K_MEASURED) for batch in batches]
        codes = [ask.plain(corpus, batch, K_MEASURED) for batch in batches]
        with self.console.status("mining"):
            columns = {
                "codes alone": measure(collection, codes),
                "protected, rescored": measure(collection, safe),
            }
        anchors = len(batches[0])
        self.say(f"{anchors:,} anchors a call, k = {K_MEASURED}, exact scan of {len(rows):,} rows, {CALLS} calls")
        self.console.print(Padding(latencies(columns), INDENT))
        return safe[0]

    def _metrics(self) -> None:
        families = read_metrics(self.server.metrics_url)
        self.console.print(Padding(page(families), INDENT))
        self.say(f"{self.server.metrics_url} has {len(families)} metrics; these are the ones to look at first")

    def _kill(self) -> None:
        pid = self.server.pid
        self.server.kill()
        with self.console.status("starting again"):
            took = self.server.start()
        self.say(f"process {pid} is dead; process {self.server.pid} serves its data after {took:.1f} s")

    def _compare(
        self,
        collection: negmine.Collection,
        rows: int,
        requests: Sequence[negmine.MineArgs],
        before: Sequence[negmine.Negatives],
    ) -> None:
        held = collection.info().rows
        if held != rows:
            raise StepFailed(f"{rows:,} rows were acked, but {held:,} are there")
        after = [collection.mine(**request) for request in requests]
        for old, new in zip(before, after, strict=True):
            for field in ("ids", "scores", "counts"):
                if getattr(old, field).tobytes() != getattr(new, field).tobytes():
                    raise StepFailed(f"the {field} that came back differ from those before the kill")
        negatives = sum(int(answer.counts.sum()) for answer in after)
        anchors = sum(map(len, after))
        self.say(f"all {held:,} rows are there")
        self.say(f"{negatives:,} negatives of {anchors:,} anchors: ids and scores are the same, byte for byte")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.demo.run", description="negmine, shown on a real corpus.")
    parser.add_argument("--corpus", choices=("wordnet", "glove"), default="wordnet", help="default: %(default)s")
    parser.add_argument("--full", action="store_true", help="all of WordNet, not the sample (GloVe is always whole)")
    parser.add_argument("--rows", type=int, help="stream only so many rows in")
    return parser.parse_args(arguments)


@contextmanager
def temporary_folder(interrupts: Interrupts) -> Iterator[Path]:
    """A folder that is gone when the block is left."""
    with interrupts.hold():
        folder = Path(tempfile.mkdtemp(prefix="negmine-demo-"))
    try:
        yield folder
    finally:
        with interrupts.hold():
            shutil.rmtree(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code."""
    options = parse(arguments)
    name = "glove" if options.corpus == "glove" else "full" if options.full else "sample"
    console = Console(highlight=False)
    begin = time.perf_counter()
    try:
        with (
            Interrupts() as interrupts,
            temporary_folder(interrupts) as folder,
            Server(folder, interrupts.hold) as server,
        ):
            try:
                Demo(console, server).run(name, options.rows)
            except StepFailed:
                console.print(Text(server.log_tail(), "dim"))
                raise
    except StepFailed as error:
        console.print(Text(f"\n{error}", "bold red"))
        return 1
    except Interrupted as signal:
        console.print(Text(f"\nended by {signal}; nothing is left running", "bold red"))
        return signal.exit_code
    console.print(f"\n[bold green]done in {time.perf_counter() - begin:.1f} s; nothing is left running[/]")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
