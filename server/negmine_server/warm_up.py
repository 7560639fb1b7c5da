"""Compiles everything before the server turns SERVING, so that no request pays for it."""

from __future__ import annotations

import logging
import time

import numpy as np

from negmine_server.domain import Candidates
from negmine_server.engine.merge import merge
from negmine_server.scan import warm
from negmine_server.select.filters import Exclusions, Survivors

LOG = logging.getLogger(__name__)


def warm_up() -> None:
    """Runs each kernel once: the scans', then the merge and the filters."""
    begin = time.perf_counter()
    warm.warm_up()
    part = Candidates(
        ids=np.array([[1, 2]]),
        scores=np.array([[0.5, 0.25]], np.float32),
        rescored=None,
        versions=np.zeros((1, 2), np.int64),
        counts=np.array([2], np.int32),
        above=np.zeros(1, np.int64),
    )
    found = merge([part, part], 4)
    exclusions = Exclusions(
        own_ids=np.array([9]),
        positive_offsets=np.array([0, 1]),
        positive_ids=np.array([2]),
        margin_ceilings=np.ones(1, np.float32),
        max_ceiling=np.float32(1),
        floor=np.float32(-1),
    )
    Survivors(1, 2).absorb(found, found.scores, np.arange(1), exclusions)
    LOG.info("kernels ready in %.2f s", time.perf_counter() - begin)
