"""How evenly rows are spread over buckets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from negmine_server.domain import I64


@dataclass(frozen=True, slots=True)
class Balance:
    """Of one set of buckets; 0 rows count as balanced."""

    max_over_mean: float
    variation: float  # standard deviation over mean
    empty_share: float
    entropy: float  # over that of equal buckets; 1 = balanced


def balance(sizes: I64) -> Balance:
    """The balance of bucket sizes [buckets], at least one bucket."""
    total = int(sizes.sum())
    if total == 0:
        return Balance(1.0, 0.0, 1.0, 1.0)
    shares = sizes / total
    held = shares[shares > 0]
    entropy = float(-(held * np.log(held)).sum() / np.log(len(sizes))) if len(sizes) > 1 else 1.0
    mean = total / len(sizes)
    return Balance(float(sizes.max() / mean), float(sizes.std() / mean), float((sizes == 0).mean()), entropy)
