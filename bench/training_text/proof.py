"""The text part of the training benchmark: every arm, task and seed, as figures and a plot."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from statistics import mean, stdev
from typing import Any

import negmine
import torch
from harness.corpus import FILE
from harness.result import Result
from harness.server import Server

from training_text.arms import ARMS, PROTECTION, WIDTHS, Arm
from training_text.mining import NEIGHBOURS, Miner
from training_text.model import TEMPERATURE, WIDTH, Retrieval
from training_text.plot import training_text
from training_text.tasks import Task, hypernyms, lemmas, place
from training_text.training import Run, Settings, train

SEEDS = (0, 1, 2)
TASKS: tuple[tuple[str, Callable[[float], Task], Settings, tuple[Arm, ...]], ...] = (
    ("training.text", hypernyms, Settings(), ARMS),
    (
        "training.text.lemmas",
        lemmas,
        Settings(steps=100),
        tuple(arm for arm in ARMS if arm.scoring != "asymmetric" or not arm.bits),
    ),
)
CALL_S = 600.0
THREADS = 1  # of torch while it trains: the server has the other core, and sums come out the same each time


def run_text(scale: float) -> list[Result]:
    """`training.text.<arm>`, `training.text.lemmas.<arm>`, `overlap.<bits>`; empty, and says why, without WordNet.

    Below a scale of 1 the corpus, the steps and the seeds are fewer.
    """
    if not place().is_file():
        print(f"{place()} is not there (`make .cache/wordnet/{FILE}`; or NEGMINE_DATA): text is left out")
        return []
    seeds = SEEDS if scale == 1 else SEEDS[:1]
    threads = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    results: list[Result] = []
    drawn: dict[str, dict[str, list[float]]] = {}
    try:
        with Server() as server, negmine.Client(server.target, timeout_s=CALL_S) as client:
            for prefix, make, full, arms in TASKS:
                settings = full if scale == 1 else replace(full, steps=8, mine_every=4)
                task = make(scale)
                runs = _runs(task, arms, Miner(client, task), settings, seeds)
                results += [_figure(prefix, task, arm, runs, settings) for arm in arms]
                if task.name == "hypernyms":
                    results += [_overlap(bits, runs) for bits in WIDTHS]
                drawn[task.name] = {arm.name: [run.retrieval.mrr_10 for run in runs[arm.name]] for arm in arms}
    finally:
        torch.set_num_threads(threads)
    if scale == 1:
        training_text(drawn)
    return results


def _runs(
    task: Task, arms: Sequence[Arm], miner: Miner, settings: Settings, seeds: Sequence[int]
) -> dict[str, list[Run]]:
    """The runs of each arm, seed by seed: arms take turns, so that the host's other work meets all alike."""
    runs: dict[str, list[Run]] = defaultdict(list)
    for seed in seeds:
        for arm in arms:
            run = train(task, arm, miner, settings, seed, task.test)
            runs[arm.name].append(run)
            line = f"{task.name} seed {seed} {arm.name}: MRR@10 {run.retrieval.mrr_10:.4f}, {run.seconds:.1f} s"
            print(line, file=sys.stderr, flush=True)
    return runs


def _figure(prefix: str, task: Task, arm: Arm, runs: dict[str, list[Run]], settings: Settings) -> Result:
    """One arm's, against random negatives of the same seeds."""
    own, random = runs[arm.name], runs["random"]
    params: dict[str, Any] = {"task": task.name, "queries": len(task.test), "corpus": len(task.corpus)}
    params |= {"std": stdev(run.retrieval.mrr_10 for run in own) if len(own) > 1 else 0.0, "seeds": len(own)}
    for name in Retrieval.__dataclass_fields__:
        params[name] = [getattr(run.retrieval, name) for run in own]
    params["recall_1_mean"] = mean(params["recall_1"])
    params["recall_5_mean"] = mean(params["recall_5"])
    params |= {"seconds": mean(run.seconds for run in own), "mining_s": mean(run.mining_s for run in own)}
    params["starved_anchors"] = mean(run.starved for run in own)
    params |= {"source": arm.source, "protection": _protection(arm)}
    if arm.source == "mined":
        params |= {"scoring": arm.scoring, "policy": repr(arm.policy), "codes": arm.bits or "vectors"}
    params |= asdict(settings) | {"temperature": TEMPERATURE, "head_width": WIDTH}
    value = mean(params["mrr_10"])
    compared = "" if arm.name == "random" else "random negatives"
    peer = mean(run.retrieval.mrr_10 for run in random) if compared else None
    return Result(f"{prefix}.{arm.name}", value, "MRR@10", "higher", None, compared, peer, params)


def _protection(arm: Arm) -> str:
    return repr(PROTECTION) if arm.protected else "none but known positives"


def _overlap(bits: int, runs: dict[str, list[Run]]) -> Result:
    """How many of the true neighbours the codes find, while the heads train."""
    shares = {
        scoring: [share for run in runs[name] for share in run.overlaps]
        for scoring, name in (("symmetric", f"lsh{bits}"), ("asymmetric", f"lsh{bits}.asymmetric"))
    }
    params: dict[str, Any] = {f"{scoring}_mean": mean(found) for scoring, found in shares.items()}
    params |= {f"{scoring}_of_run_and_mining": found for scoring, found in shares.items()}
    params |= {"neighbours": NEIGHBOURS, "truth": "exact cosine of the heads' vectors", "task": "hypernyms"}
    return Result(f"overlap.{bits}", params["symmetric_mean"], "share", "higher", params=params)
