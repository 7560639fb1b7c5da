"""Figures `training.image.*`: retrieval by bands of hardness, and the linear probe of self-supervised encoders."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import negmine
import numpy as np
from harness.result import Result
from harness.server import Server

from images import data, plot, probe, retrieval
from images.data import Images
from images.network import DIMENSION

SEEDS = 3
RETRIEVAL_ITEMS, RETRIEVAL_EPOCHS = 16_000, 4
PROBE_ITEMS, PROBE_EPOCHS = 10_000, 6
ITEMS_MIN = 2_000  # below, nearest1500 would be everything
CALL_S = 120.0


@dataclass
class Arm:
    """What its seeds reached."""

    values: list[float] = field(default_factory=list)
    maps: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Of the figure."""
        return float(np.mean(self.values))

    @property
    def std(self) -> float:
        """Between seeds; 0 for one."""
        return float(np.std(self.values, ddof=1)) if len(self.values) > 1 else 0.0


def run_images(scale: float) -> list[Result]:
    """R@1 by arm, and the probe's accuracy by arm; empty, with the reason printed, where there are no images."""
    place = data.folder()
    if place is None:
        print(
            "Fashion-MNIST is not there (Debian: dataset-fashion-mnist; or NEGMINE_FASHION_MNIST): images are left out"
        )
        return []
    train, test = data.load(place)
    with Server() as server, negmine.Client(server.target, timeout_s=CALL_S) as client:
        bands = by_bands(client, train, test, scale)
        probes = by_losses(client, train, test, scale)
    if scale == 1:
        plot.training_images(bands, probes)
    return [*band_figures(bands, scale), *probe_figures(probes, scale)]


def by_bands(client: negmine.Client, train: Images, test: Images, scale: float) -> dict[str, Arm]:
    """Retrieval, by band of ranks."""
    items = train.first(scaled(RETRIEVAL_ITEMS, scale))

    def one(collection: negmine.Collection, arm: str, seed: int, into: Arm) -> None:
        model = retrieval.train(collection, retrieval.ARMS[arm], items, RETRIEVAL_EPOCHS, seed)
        quality = retrieval.evaluate(model, test)
        into.values.append(quality.r_at_1)
        into.maps.append(quality.map_at_100)

    return by_seeds(client, retrieval.ARMS, scale, "none", one)


def by_losses(client: negmine.Client, train: Images, test: Images, scale: float) -> dict[str, Arm]:
    """Linear probe, by loss; `untrained` is the features before the first step."""
    items = train.first(scaled(PROBE_ITEMS, scale))

    def one(collection: negmine.Collection, arm: str, seed: int, into: Arm) -> None:
        features = probe.train(collection, arm, items, 0 if arm == "untrained" else PROBE_EPOCHS, seed)
        into.values.append(probe.accuracy(features, items, test))

    return by_seeds(client, ("untrained", *probe.ARMS), scale, "float32", one)


def by_seeds(
    client: negmine.Client,
    names: Iterable[str],
    scale: float,
    vectors: Any,
    one: Callable[[negmine.Collection, str, int, Arm], None],
) -> dict[str, Arm]:
    """Every arm once a seed, each in a collection of its own."""
    arms = {name: Arm() for name in names}
    for seed in range(max(1, round(SEEDS * scale))):
        for name, arm in arms.items():
            collection = client.create_collection("bench", DIMENSION, bits=256, vectors=vectors, seed=seed)
            begin = time.perf_counter()
            one(collection, name, seed, arm)
            arm.seconds.append(time.perf_counter() - begin)
            client.drop_collection("bench")
            print(f"{name} seed {seed}: {arm.values[-1]:.4f} in {arm.seconds[-1]:.0f} s", flush=True)
    return arms


def band_figures(arms: dict[str, Arm], scale: float) -> list[Result]:
    """R@1 of test images among the other test images."""
    params = {
        "data": "Fashion-MNIST",
        "queries": "test images",
        "gallery": "the other test images",
        "items": scaled(RETRIEVAL_ITEMS, scale),
        "epochs": RETRIEVAL_EPOCHS,
        "batch": retrieval.BATCH,
        "k": retrieval.K,
        "temperature": retrieval.TEMPERATURE,
        "bits": retrieval.BITS,
    }
    figures = []
    for name, arm in arms.items():
        reached = {"map_at_100": float(np.mean(arm.maps)), "map_at_100_by_seed": arm.maps} | of_seeds(arm)
        figures.append(
            result(f"training.image.{name}", arm, "R@1", "random negatives", arms["random"], params | reached)
        )
    return figures


def probe_figures(arms: dict[str, Arm], scale: float) -> list[Result]:
    """Accuracy of the probe on the test images."""
    params = {
        "data": "Fashion-MNIST",
        "items": scaled(PROBE_ITEMS, scale),
        "epochs": PROBE_EPOCHS,
        "batch": probe.BATCH,
        "temperature": probe.TEMPERATURE,
    }
    return [
        result(f"training.image.probe.{name}", arm, "accuracy", "SimCLR", arms["simclr"], params | of_seeds(arm))
        for name, arm in arms.items()
    ]


def result(name: str, arm: Arm, unit: str, peer: str, baseline: Arm, params: dict[str, Any]) -> Result:
    """A figure, against the arm it is compared with; that one has no peer."""
    alone = arm is baseline
    return Result(
        name, arm.mean, unit, "higher", None, "" if alone else peer, None if alone else baseline.mean, params=params
    )


def of_seeds(arm: Arm) -> dict[str, Any]:
    """What the figure is the mean of."""
    return {"std": arm.std, "by_seed": arm.values, "seconds_a_seed": float(np.mean(arm.seconds))}


def scaled(items: int, scale: float) -> int:
    """Items at a scale."""
    return max(ITEMS_MIN, int(items * scale))
