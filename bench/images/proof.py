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
RETRIEVAL_ITEMS, RETRIEVAL_EPOCHS = 12_000, 4
PROBE_ITEMS, PROBE_EPOCHS = 10_000, 6
UNTRAINED = "untrained"
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
        into.values.append(round(quality.r_at_1, 4))
        into.maps.append(round(quality.map_at_100, 4))

    return by_seeds(client, retrieval.ARMS, scale, "none", one)


def by_losses(client: negmine.Client, train: Images, test: Images, scale: float) -> dict[str, Arm]:
    """Linear probe, by loss; `untrained` = the features before the first step."""
    items = train.first(scaled(PROBE_ITEMS, scale))

    def one(collection: negmine.Collection, arm: str, seed: int, into: Arm) -> None:
        features = probe.train(collection, arm, items, epochs_of(arm), seed)
        into.values.append(round(probe.accuracy(features, items, test), 4))

    return by_seeds(client, (UNTRAINED, *probe.ARMS), scale, "float32", one)


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
            collection = client.create_collection("bench", DIMENSION, bits=retrieval.BITS, vectors=vectors, seed=seed)
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
        reached = params | {"map_at_100": float(np.mean(arm.maps)), "map_at_100_by_seed": arm.maps}
        figures.append(result(f"training.image.{name}", arm, "R@1", "random negatives", arms["random"], reached))
    return figures


def probe_figures(arms: dict[str, Arm], scale: float) -> list[Result]:
    """Accuracy of the probe on the test images."""
    params = {
        "data": "Fashion-MNIST",
        "items": scaled(PROBE_ITEMS, scale),
        "batch": probe.BATCH,
        "temperature": probe.TEMPERATURE,
    }
    figures = []
    for name, arm in arms.items():
        reached = params | {"epochs": epochs_of(name)}
        figures.append(result(f"training.image.probe.{name}", arm, "accuracy", "SimCLR", arms["simclr"], reached))
    return figures


def epochs_of(arm: str) -> int:
    """Of the probe's arms."""
    return 0 if arm == UNTRAINED else PROBE_EPOCHS


def result(name: str, arm: Arm, unit: str, peer: str, baseline: Arm, params: dict[str, Any]) -> Result:
    """A figure, against the arm it is compared with, seed by seed; that one has no peer."""
    params = params | {"std": arm.std, "by_seed": arm.values, "seconds_a_seed": float(np.mean(arm.seconds))}
    if arm is baseline:
        return Result(name, arm.mean, unit, "higher", params=params)
    gains = Arm([value - other for value, other in zip(arm.values, baseline.values, strict=True)])
    params |= {"gain": gains.mean, "gain_std": gains.std}
    return Result(name, arm.mean, unit, "higher", None, peer, baseline.mean, params)


def scaled(items: int, scale: float) -> int:
    """Items at a scale."""
    return max(ITEMS_MIN, int(items * scale))
