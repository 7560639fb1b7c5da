"""The hash behind shard routing and random choices: part of what is stored and promised, so it never changes."""

from __future__ import annotations

import numpy as np

from negmine_server.domain import U64


def mix(values: U64) -> U64:
    """The finaliser of SplitMix64 (Steele et al., 2014): a bijection of uint64 that spreads every input bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
