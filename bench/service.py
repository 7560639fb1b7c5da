"""Mine as a service: throughput and latency of many clients, idle and while rows come in, and what peers reach.

Server, load and upserts are processes that share the cores. Closed loops against the afternoon version alternate; both
scan the same codes exactly. The larger set is the glosses' codes again and again, each copy with other bits flipped.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import negmine
import numpy as np
from harness import afternoon, pgvector
from harness.corpus import DIMENSION, Rows, glosses
from harness.load import Command, Load
from harness.loops import Loops, Rounds
from harness.result import Result
from harness.server import Server
from numpy.typing import NDArray

U64 = NDArray[np.uint64]

BITS = 256
K = 16
CLIENTS, ANCHORS = (1, 8, 64), (1, 64, 1024)
HEADLINE = (8, 64)
LARGE = 1_000_000
PAIRS_MAX = 8e9  # of one call from every client: more takes the peer a quarter of a minute, and is left out
PAIRS_ONCE = 2e9  # above this, one round is enough
ROUNDS = 3
CLOSED_S, OPEN_S = 1.0, 4.0
LOADS = (0.25, 0.5, 0.75)  # of the closed loop's throughput
UPSERTS = {"float": 20_000, "code": 50_000}  # rows a second
SPEED_UP, P99_TIMES = 3.0, 2.0
MINE_EVERY_S = 0.05
SAMPLES = 420  # calls of a phase that a p99 is taken of
AFTERNOON = "FAISS IndexBinaryFlat behind gRPC"
POSTGRES = "pgvector, exact scan of bit codes"
PG_CLIENTS, PG_ANCHORS, PG_EF, PG_S = 8, 16, 100, 2.0


def run(scale: float) -> list[Result]:
    """`service.closed.…`, `service.open.…`, `service.vs_afternoon`, `service.vs_pgvector`, `service.p99_…`."""
    rows = glosses(scale)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="negmine-bench-")))
        np.save(folder / "corpus.npy", rows.embeddings)
        np.save(folder / "anchors.npy", np.random.default_rng(1).permutation(rows.embeddings)[: 16 * max(ANCHORS)])
        server = stack.enter_context(Server())
        loops = Loops(stack.enter_context(Load(folder)), stack.enter_context(Load(folder)))
        bench = _Bench(min(scale, 1), server, loops, folder, rows)
        small = bench.create("small", bench.encoded().words)
        grids = {"small": bench.grid("small", small)}
        postgres = bench.against_pgvector("small", small)
        large = bench.create("large", variations(small, int(LARGE * scale)))
        grids["large"] = bench.grid("large", large)
        figures = [bench.against_afternoon(), *postgres, bench.p99("large", len(large))]
        for name, results in grids.items():  # last, as every row overwritten leaves a dead one for a while
            bench.under_upserts(name, results)
        return [*figures, *grids["small"], *grids["large"]]


@dataclass
class _Bench:
    """What is running, and what is known of the peer so far."""

    scale: float
    server: Server
    loops: Loops
    folder: Path
    rows: Rows
    ratios: dict[str, float] = field(default_factory=dict)
    headline: dict[str, Any] = field(default_factory=dict)

    def encoded(self) -> negmine.Codes:
        """The glosses' codes, by the encoder of every collection here."""
        with negmine.Client(self.server.target) as client:
            encoder = client.create_collection("encoder", DIMENSION, bits=BITS).encoder()
        np.save(self.folder / "rotation.npy", encoder.rotation)
        return encoder.encode(self.rows.embeddings)

    def create(self, name: str, words: U64) -> U64:
        """A collection of codes, which it hands back."""
        ones = np.ones(len(words), np.float32)
        with negmine.Client(self.server.target) as client:
            collection = client.create_collection(name, DIMENSION, bits=BITS)
            fingerprint = collection.encoder().fingerprint
            collection.upsert(np.arange(len(words)), negmine.Codes(words, ones / 12, ones, fingerprint))
        return words

    def command(self, name: str, clients: int, anchors: int) -> Command:
        """A closed loop on our server."""
        return Command("closed", "negmine", self.server.target, name, CLOSED_S * self.scale, clients, anchors, K)

    def grid(self, name: str, codes: U64) -> list[Result]:
        """Closed loops of every shape that is feasible, and open loops of the headline's."""
        n = len(codes)
        with afternoon.Server("faiss", self.folder / "rotation.npy") as peer:
            assert peer.add(codes) == n, "the peer lacks rows"
            self.check(name, peer)
            shapes = [(clients, anchors) for clients in CLIENTS for anchors in ANCHORS]
            results = [self.closed(name, n, peer, *shape) for shape in shapes if shape[0] * shape[1] * n <= PAIRS_MAX]
        return [*results, self.open_loops(name, n)]

    def check(self, name: str, peer: afternoon.Server) -> None:
        """Raises where the distances found differ by more than rounding at the encoders."""
        anchors = np.load(self.folder / "anchors.npy")[:256]
        with negmine.Client(self.server.target) as client:
            found = client.collection(name).mine(anchors, K, scoring="symmetric", exact=True)
        distances = np.rint(np.arccos(np.clip(found.scores, -1, 1)) * BITS / np.pi)
        equal = float((distances == peer.search(anchors, K)[1]).mean())
        assert equal > 0.999, f"{1 - equal:.2%} of the distances differ from the peer's"

    def closed(self, name: str, n: int, peer: afternoon.Server, clients: int, anchors: int) -> Result:
        """One shape: both sides in turns."""
        ours, theirs = Rounds(anchors), Rounds(anchors)
        mine = self.command(name, clients, anchors)
        search = replace(mine, kind="faiss", target=peer.target)
        for _ in range(ROUNDS if clients * anchors * n < PAIRS_ONCE else 1):
            ours.answers.append(self.loops.mine.run(mine))
            theirs.answers.append(self.loops.mine.run(search))
        params = {"rows": n, "clients": clients, "anchors": anchors, "k": K, "bits": BITS, "data": self.rows.data}
        params |= {"ours": ours.params(), "theirs": theirs.params(), "rounds": len(ours.answers)}
        self.ratios[f"c{clients}.b{anchors}.n{n}"] = ours.anchors_s / theirs.anchors_s
        if (clients, anchors) == HEADLINE:
            self.headline[name] = params
        figure = f"service.closed.c{clients}.b{anchors}.n{n}"
        return Result(figure, ours.anchors_s, "anchors/s", "higher", None, AFTERNOON, theirs.anchors_s, params)

    def under_upserts(self, name: str, results: list[Result]) -> None:
        """Adds to the closed loops what ours reaches while rows come in."""
        for result in results:
            params = result.params
            if "ours" in params:
                mine = self.command(name, params["clients"], params["anchors"])
                answer, met = self.loops.run_while_upserting(
                    mine, self.server.pid, UPSERTS["float"], "float", params["rows"]
                )
                params["ours_under_upserts"] = Rounds(params["anchors"], [answer]).params() | met

    def open_loops(self, name: str, n: int) -> Result:
        """Random arrivals at shares of the headline's throughput."""
        clients, anchors = HEADLINE
        closed_s = self.headline[name]["ours"]["calls_s"]
        quoted: dict[str, Any] = {}
        for share in LOADS:
            command = replace(self.command(name, clients, anchors), do="poisson", rate=share * closed_s)
            answer, cores = self.loops.run(replace(command, seconds=OPEN_S * self.scale), self.server.pid)
            quoted[f"{share:.0%}"] = Rounds(anchors, [answer]).params() | {"cores": cores}
        params = {"rows": n, "clients": clients, "anchors": anchors, "k": K, "bits": BITS, "of_closed_loop": quoted}
        return Result(f"service.open.c{clients}.b{anchors}.n{n}", quoted["50%"]["p99_ms"], "ms", "lower", params=params)

    def against_afternoon(self) -> Result:
        """The ratio that is quoted: the headline's shape over the glosses."""
        params = {"ratios": self.ratios, **self.headline["small"]}
        ratio = params["ours"]["anchors_s"] / params["theirs"]["anchors_s"]
        return Result("service.vs_afternoon", ratio, "×", "higher", SPEED_UP, AFTERNOON, params=params)

    def against_pgvector(self, name: str, codes: U64) -> list[Result]:
        """Throughput over the exact scan's; the HNSW index and its recall beside it. None where not installed."""
        if not pgvector.installed():
            return []
        anchors = codes[:PG_ANCHORS]
        seconds = PG_S * self.scale
        ours, exact, indexed = Rounds(PG_ANCHORS), [], []
        with pgvector.Postgres(codes) as postgres:
            truth = distances(codes, anchors, postgres.search(anchors, K))
            wanted = np.sort(np.bitwise_count(anchors[:, None] ^ codes).sum(-1), axis=1)[:, :K]
            np.testing.assert_array_equal(truth, wanted)
            for _ in range(ROUNDS):
                ours.answers.append(self.loops.mine.run(self.command(name, PG_CLIENTS, PG_ANCHORS)))
                exact.append(postgres.closed(anchors, PG_CLIENTS, K, seconds))
            build_s = postgres.build_hnsw()
            found = distances(codes, anchors, postgres.search(anchors, K, PG_EF))
            indexed = [postgres.closed(anchors, PG_CLIENTS, K, seconds, PG_EF) for _ in range(ROUNDS)]
            version = postgres.version
        params = {"rows": len(codes), "clients": PG_CLIENTS, "anchors": PG_ANCHORS, "k": K, "bits": BITS}
        params |= {"version": version, "ours": ours.params(), "exact_anchors_s": median(exact)}
        params["hnsw"] = {
            "anchors_s": median(indexed),
            "ratio": ours.anchors_s / median(indexed),
            "ef_search": PG_EF,
            "recall": float((found <= wanted[:, -1:]).mean()),
            "build_s": build_s,
        }
        ratio = ours.anchors_s / median(exact)
        return [Result("service.vs_pgvector", ratio, "×", "higher", None, POSTGRES, params=params)]

    def p99(self, name: str, n: int) -> Result:
        """One client that asks every 50 ms: p99 while rows come in, over the idle p99 before and after."""
        anchors = HEADLINE[1]
        calls = max(round(SAMPLES * self.scale), 20)
        paced = {"do": "paced", "rate": 1 / MINE_EVERY_S, "seconds": calls * MINE_EVERY_S, "exact": False}
        mine = replace(self.command(name, 1, anchors), **paced)
        idle, busy, met = Rounds(anchors), {}, {}
        for form, rate in UPSERTS.items():
            answer, idle_cores = self.loops.run(mine, self.server.pid)
            idle.answers.append(answer)
            answer, met[form] = self.loops.run_while_upserting(mine, self.server.pid, rate, form, n)
            busy[form] = Rounds(anchors, [answer])
        params = {
            "rows": n,
            "anchors": anchors,
            "k": K,
            "bits": BITS,
            "every_ms": MINE_EVERY_S * 1e3,
            "scan": "recall target 0.95",
        }
        params["idle"] = idle.params() | {"cores": idle_cores}
        for form, rounds in busy.items():
            times = rounds.quantile_ms(0.99) / idle.quantile_ms(0.99)
            params[form] = {"times_idle": times} | rounds.params() | met[form]
        worst = max(params[form]["times_idle"] for form in UPSERTS)
        return Result("service.p99_under_upserts", worst, "× idle", "lower", P99_TIMES, params=params)


def variations(codes: U64, n: int) -> U64:
    """n codes: those of the glosses in turn, one bit in eight flipped at random; the first are the glosses' own."""
    random = np.random.default_rng(2)
    made = codes[np.arange(n) % len(codes)]
    later = made[len(codes) :]
    flips = random.integers(0, 2**64, (3, *later.shape), np.uint64)
    later ^= flips[0] & flips[1] & flips[2]
    return made


def distances(codes: U64, anchors: U64, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Hamming distances [B, k] of found ids."""
    return np.bitwise_count(codes[ids] ^ anchors[:, None]).sum(-1)
