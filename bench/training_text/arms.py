"""The arms: where the negatives beside the batch's own come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import negmine

from training_text.model import TEMPERATURE

POOL = 128  # nearest that are picked from, as in the LSH paper; half of its picks, here all, are random among them
BAND = negmine.Window(0, POOL, "random")
PROTECTION = negmine.Protection(percent_of_positive=0.95)
UNREMIX = negmine.Unremix(tau=TEMPERATURE, pool=POOL)  # the three terms alike


@dataclass(frozen=True)
class Arm:
    """One kind of negatives.

    Attributes:
        source: "random" draws them from the corpus; "batch" takes the hardest of those that "random" draws for the
            whole batch; "mined" asks the server.
        bits: of the codes; 0 = the collection that keeps vectors.
        scoring: of the server's scan.
        policy: how the k are picked.
        protected: whether candidates too close to the positive are dropped.
    """

    name: str
    source: Literal["random", "batch", "mined"] = "mined"
    bits: int = 0
    scoring: Literal["symmetric", "asymmetric", "float"] = "symmetric"
    policy: negmine.Policy = BAND
    protected: bool = False


def _protected(arm: Arm) -> Arm:
    return Arm(f"{arm.name}.protected", arm.source, arm.bits, arm.scoring, arm.policy, protected=True)


def _lsh(bits: int) -> list[Arm]:
    name = f"lsh{bits}"
    return [Arm(name, bits=bits), Arm(f"{name}.asymmetric", bits=bits, scoring="asymmetric")]


WIDTHS = (128, 256, 512)
EXACT = Arm("exact", scoring="float")
UNREMIXED = Arm("unremix", scoring="asymmetric", policy=UNREMIX)
ARMS: tuple[Arm, ...] = (
    Arm("random", "random"),
    Arm("batch_hard", "batch"),
    *(arm for bits in WIDTHS for arm in _lsh(bits)),
    EXACT,
    UNREMIXED,
    *(_protected(arm) for arm in (_lsh(512)[0], EXACT, UNREMIXED)),
)
