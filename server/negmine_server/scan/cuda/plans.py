"""A probed scan on a device: the plan's steps as a list of works, tile by tile, each for the anchors of its step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from negmine_server.scan.cuda.block import TILE_ROWS
from negmine_server.scan.cuda.rounds import stride_of
from negmine_server.scan.plan import Plan

if TYPE_CHECKING:
    import torch

    from negmine_server.device.gpu import Gpu

# A scanned pair of a work costs more than one of the exhaustive scan, whose anchors stay in registers all along, and
# the list of works has to be made: a plan is followed where it names less than this share of all pairs.
WORTH = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Works:
    """A probed scan's works on the device; they live as long as this."""

    works: torch.Tensor  # int32 [n, 4]: tile, first slot, slots, 0
    slot_anchors: torch.Tensor  # int32 [slots], -1 = padding

    @property
    def count(self) -> int:
        """n."""
        return int(self.works.shape[0])

    @property
    def slots(self) -> int:
        """All steps' places of anchors."""
        return int(self.slot_anchors.shape[0])


def worth_following(plan: Plan, tiles: int, anchors: int, multiple: int) -> bool:
    """Whether the plan scans much less than all rows do; `multiple` = anchors that a scanner takes at once."""
    padded = -(-np.diff(plan.query_offsets) // multiple) * multiple
    everything = tiles * -(-anchors // multiple) * multiple
    return int(((plan.stops - plan.starts) * padded).sum()) < WORTH * everything


def works_of(gpu: Gpu, plan: Plan, multiple: int, slots_max: int) -> Works:
    """The works of a plan whose blocks are tiles, in scattered order.

    Steps' anchors are padded to a multiple, and cut so that no work has more than `slots_max` slots.
    """
    import torch  # noqa: PLC0415 (a server without a device has none)

    sizes = np.diff(plan.query_offsets)
    padded = -(-sizes // multiple) * multiple
    firsts = np.cumsum(padded) - padded
    slot_anchors = np.full(max(int(padded.sum()), multiple), -1, np.int32)
    places = np.arange(plan.queries.shape[0]) - np.repeat(plan.query_offsets[:-1] - firsts, sizes)
    slot_anchors[places] = plan.queries

    parts = -(-padded // slots_max)
    steps = np.repeat(np.arange(sizes.shape[0]), parts)
    skipped = (np.arange(steps.shape[0]) - np.repeat(np.cumsum(parts) - parts, parts)) * slots_max
    part_firsts, part_slots = firsts[steps] + skipped, np.minimum(padded[steps] - skipped, slots_max)
    lengths = (plan.stops - plan.starts)[steps]
    total = int(lengths.sum())

    device = gpu.torch_device
    tiles = torch.from_numpy((plan.blocks // TILE_ROWS).astype(np.int32)).to(device)
    table = np.stack([plan.starts[steps] - (np.cumsum(lengths) - lengths), part_firsts, part_slots], axis=1)
    rows = torch.from_numpy(np.ascontiguousarray(table, np.int64)).to(device)
    of_part = torch.repeat_interleave(torch.from_numpy(lengths).to(device), output_size=total)
    of_work = rows[of_part]
    number = torch.arange(total, device=device)
    works = torch.zeros((total, 4), dtype=torch.int32, device=device)
    works[:, 0] = tiles[of_work[:, 0] + number]
    works[:, 1:3] = of_work[:, 1:]
    # Scattered, so that the first rounds are a sample of what each anchor probes.
    order = number * stride_of(max(total, 1)) % max(total, 1)
    return Works(works[order].contiguous(), torch.from_numpy(slot_anchors).to(device))
