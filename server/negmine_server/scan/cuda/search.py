"""Top-R on a device: launches the kernels of a search in rounds, and repeats in halves what overflowed.

    upload → prepare → (scan → offer → cut) a round → finish → rescore → download → one wait

Nothing in between asks the host. Rounds grow (`rounds`), so the bars that a round leaves let few rows of the next one
through. Where a round's works brought more than the buffers hold, its candidates were dropped and the bars tightened;
it is done again in halves, at the cost of another wait. The answer never depends on sizes, order or overflows: it is
that of `reference.top_r`, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from negmine_server import metrics
from negmine_server.domain import NO_ID, Candidates, Metric, Query, Scoring
from negmine_server.index.pages import View
from negmine_server.scan.cuda import selection
from negmine_server.scan.cuda.block import ROUNDS_MAX, TILE_ROWS, ScoringCode
from negmine_server.scan.cuda.plans import Works, works_of, worth_following
from negmine_server.scan.cuda.rounds import Span, capacity_of, halved, spans, stride_of
from negmine_server.scan.cuda.scanners import Scanner, Scanners
from negmine_server.scan.cuda.workspace import UNITS_MAX, Size, Workspace, Workspaces
from negmine_server.scan.hamming import cosine_table
from negmine_server.scan.probing import probed

if TYPE_CHECKING:
    from negmine_server.device.gpu import Gpu
    from negmine_server.device.pages import Mirrored

_ANCHORS_MAX = 4096
_CANDIDATE_BYTES, _RESULT_BYTES, _BYTES_MAX = 16, 28, 1 << 29
_BLOCKS_AT_ONCE = 1024
_CAPTURED_ANCHORS_MAX = 512  # with more, launching is hidden behind running

_REPEATED = metrics.counter("negmine_device_rounds_repeated", "Rounds of a search that overflowed and were halved.")


class Searcher:
    """Searches mirrored rows of one width and metric on one device. Belongs to that device's one searching thread."""

    def __init__(self, gpu: Gpu, metric: Metric, scanners: Scanners, workspaces: Workspaces) -> None:
        self.gpu = gpu
        self.metric = metric
        self.scanners = scanners
        self.workspaces = workspaces

    def prepare(self) -> None:
        """Compiles every kernel. Raises DeviceFailed."""
        self.gpu.launcher.prepare(selection.KERNELS)
        self.scanners.prepare()

    def top_r(self, view: View, query: Query, r: int, *, rescored: bool = False, insist: bool = False) -> Candidates:
        """The best r visible rows per anchor that pass the query's filters: score descending, id ascending.

        Equal to `reference.top_r` bit for bit. Where the query names buckets to probe they are all that is looked at
        if that is less work than looking at everything, or if the caller insists.

        Raises:
            DeviceFull: the device has no room for the search.
            DeviceLost: the device does not answer.
        """
        started = perf_counter()
        wanted, r = r, max(1, min(r, view.rows))
        anchor_bytes = _CANDIDATE_BYTES * capacity_of(r) + _RESULT_BYTES * r
        limit = min(_ANCHORS_MAX, _BYTES_MAX // anchor_bytes)
        found, scanned = _nothing(query.rows, wanted, rescored=rescored), 0
        with self.gpu.guard(), self.gpu.searching():
            for start in range(0, query.rows, limit):
                part = query.take(slice(start, start + limit))
                scanned = _Search(self, view, part, r, rescored=rescored, insist=insist).run(found, start)
        return replace(found, scanned=scanned, scan_s=perf_counter() - started)


class _Search:
    """One search of at most as many anchors as a workspace holds."""

    def __init__(self, searcher: Searcher, view: View, query: Query, r: int, *, rescored: bool, insist: bool) -> None:
        self._view, self._query, self._r, self._rescored = view, query, r, rescored
        self._mirrored: Mirrored = view.mirrored
        self._gpu = searcher.gpu
        self._by_norm = searcher.metric is Metric.INNER_PRODUCT and query.scoring is Scoring.SYMMETRIC
        self._scanner: Scanner = searcher.scanners.of(query.scoring)
        self._tiles = _tiles(view)
        self._works, self._scanned = self._follow(insist=insist)
        b, multiple = query.rows, self._scanner.multiple
        self._slots = -(-b // multiple) * multiple if self._works is None else self._works.slots
        with_vectors = rescored or query.scoring is Scoring.FLOAT
        anchors = max(16, self._slots if self._works is None else 0, 1 << (b - 1).bit_length())
        self._size = Size(
            anchors=anchors,
            slots=anchors if self._works is None else self._slots,
            r=max(16, 1 << (r - 1).bit_length()),
            capacity=capacity_of(r),
            words=view.words,
            row_bytes=self._mirrored.row_bytes,
            values=query.scoring is Scoring.ASYMMETRIC,
            dimension=view.dimension if with_vectors else 0,
        )
        # One of as many slots as this plan has is of no use to another.
        own = self._works is not None
        self._workspace = Workspace(self._gpu, self._size) if own else searcher.workspaces.of(self._size)
        self._units_at = searcher.workspaces.units_at

    def run(self, found: Candidates, start: int) -> int:
        """Runs it, waits for it and writes the results behind `start`. Returns how many rows an anchor looked at."""
        works = self._tiles if self._works is None else self._works.count
        rounds = spans(works, self._query.rows, self._r)
        self._fill(rounds)
        self._gpu.wait_for(self._mirrored.mark)
        if self._query.rows <= _CAPTURED_ANCHORS_MAX and self._works is None:
            key = (self._scanner, len(rounds), self._slots, self._rescored)
            self._workspace.graphs.run(key, lambda: self._first(len(rounds)))
        else:
            self._first(len(rounds))
        self._gpu.sync()
        overflowed = self._overflowed(rounds)
        pending: list[Span] = []
        while overflowed or pending:
            _REPEATED.inc(len(overflowed))
            pending = halved(overflowed) + pending
            rounds, pending = pending[:ROUNDS_MAX], pending[ROUNDS_MAX:]
            self._again(rounds)
            self._gpu.sync()
            overflowed = self._overflowed(rounds)
        self._read(found, start)
        return self._scanned

    def _follow(self, *, insist: bool) -> tuple[Works | None, int]:
        """The works of what the query probes, None = everything; and how many rows an anchor looks at."""
        view, query = self._view, self._query
        if query.probes is None or query.scoring is Scoring.FLOAT:
            return None, view.rows
        plan = probed(view, query.probes, query.new_buckets)
        if not (insist or worth_following(plan, self._tiles, query.rows, self._scanner.multiple)):
            return None, view.rows
        works = works_of(self._gpu, plan, self._scanner.multiple, self._scanner.slots_max)
        return works, round(plan.pairs / query.rows)

    def _fill(self, rounds: list[Span]) -> None:
        """Writes everything that is uploaded."""
        query, mirrored, block, inputs = self._query, self._mirrored, self._workspace.block, self._workspace.inputs
        b, r = query.rows, self._r
        numbers = {
            "directory": mirrored.directory,
            "page_slots": mirrored.page_slots,
            "page_shift": self._view.shift,
            "epoch": mirrored.epoch,
            "words": self._view.words,
            "row_bytes": mirrored.row_bytes,
            "dimension": self._view.dimension,
            "store": mirrored.store,
            "tiles": self._tiles,
            "stride": stride_of(self._tiles),
            "unit_rows": self._scanner.unit_rows,
            "works": 0,
            "anchors": b,
            "slots": self._slots,
            "r": r,
            "capacity": self._size.capacity,
            "units": self._units_at,
            "units_max": UNITS_MAX,
            "scoring": ScoringCode[query.scoring.name],
            "by_norm": self._by_norm,
            "weight_min": mirrored.weights[0] if self._by_norm else 1,
            "weight_max": mirrored.weights[1] if self._by_norm else 1,
        }
        if self._works is not None:
            numbers["works"] = self._works.works.data_ptr()
            numbers["slot_anchors"] = self._works.slot_anchors.data_ptr()
        for name, value in numbers.items():
            block[name] = value
        inputs["rounds"][: len(rounds)] = rounds
        slots = inputs["slot_anchors"]
        slots[:b], slots[b:] = np.arange(b), -1
        inputs["codes"][:b, : 8 * query.codes.shape[1]] = np.ascontiguousarray(query.codes).view(np.uint8)
        for name in ("scales", "after_scores", "after_ids", "floors", "exclude_groups", "require_tags", "forbid_tags",
                     "min_steps", "values", "vectors"):  # fmt: skip
            if name in inputs:
                inputs[name][:b] = getattr(query, name)
        inputs["table"][:] = cosine_table(64 * self._view.words)

    def _first(self, rounds: int) -> None:
        """Enqueues a whole search."""
        self._workspace.upload()
        self._launch(selection.PREPARE)
        self._scanner.arm(self._workspace.search_at, self._slots)
        self._scan(rounds)

    def _again(self, rounds: list[Span]) -> None:
        """Enqueues more rounds of the same search."""
        self._workspace.inputs["rounds"][: len(rounds)] = rounds
        self._workspace.upload()
        self._workspace.clear_rounds()
        self._scan(len(rounds))

    def _scan(self, rounds: int) -> None:
        at, direct = self._workspace.search_at, self._scanner.unit_rows == 0
        for round_ in range(rounds):
            self._scanner.scan(at, self._slots, round_, probed=self._works is not None)
            if not direct:
                self._launch(selection.OFFER, round_)
            self._launch(selection.CUT, round_)
        self._launch(selection.FINISH)
        if self._rescored:
            self._launch(selection.RESCORE)
        self._workspace.download()

    def _launch(self, kernel: Any, round_: int = 0) -> None:
        blocks = selection.blocks(kernel, self._size.anchors, self._size.r, self._gpu.processors)
        self._gpu.launcher.launch(kernel, blocks, self._workspace.search_at, round_)

    def _overflowed(self, rounds: list[Span]) -> list[Span]:
        flags = self._workspace.outputs["overflows"][: len(rounds)]
        return [span for span, flag in zip(rounds, flags.tolist(), strict=True) if flag]

    def _read(self, found: Candidates, start: int) -> None:
        b, r, outputs = self._query.rows, self._r, self._workspace.outputs
        part = slice(start, start + b)
        for name in ("ids", "scores", "rescored", "versions"):
            if (into := getattr(found, name)) is not None:
                into[part, :r] = outputs[name].reshape(-1)[: b * r].reshape(b, r)
        for name in ("counts", "above"):
            getattr(found, name)[part] = outputs[name][:b]


def _tiles(view: View) -> int:
    """Tiles up to the last that has rows: pages are filled from the front."""
    assert view.block_rows == TILE_ROWS, view.block_rows
    end = len(view.counts)
    while end > 0:
        written = np.flatnonzero(view.counts[max(0, end - _BLOCKS_AT_ONCE) : end])
        if written.size:
            return max(0, end - _BLOCKS_AT_ONCE) + int(written[-1]) + 1
        end -= _BLOCKS_AT_ONCE
    return 1


def _nothing(anchors: int, r: int, *, rescored: bool) -> Candidates:
    """Results [B, r] that hold nothing yet."""
    scores = np.full((anchors, r), -np.inf, np.float32)
    return Candidates(
        ids=np.full((anchors, r), NO_ID, np.int64),
        scores=scores,
        rescored=scores.copy() if rescored else None,
        versions=np.zeros((anchors, r), np.int64),
        counts=np.zeros(anchors, np.int32),
        above=np.zeros(anchors, np.int64),
    )
