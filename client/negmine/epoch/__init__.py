"""The loop of the LSH paper: this epoch's embeddings compose the next epoch's batches.

    from negmine import epoch

    sampler = epoch.BatchSampler(len(dataset), 128, labels=labels)
    loader = DataLoader(dataset, batch_sampler=sampler)
    with epoch.Incremental(collection, len(dataset), labels=labels, options={"scoring": "symmetric"}) as miner:
        for number in range(epochs):
            sampler.set_epoch(number)
            for rows, queries, references in loader:
                ...
                miner.add(rows, query_embeddings, reference_embeddings, step=step)
            sampler.update(miner.mine())

Read: pre-epoch incremental sampling ("Locality-Sensitive Hashing for Efficient Hard Negative Sampling in Contrastive
Learning", 2025) and the greedy composition of Sample4Geo. The paper's arms differ in the miner alone:

LSH is `Incremental` with options {"scoring": "symmetric"} or "asymmetric" (and "rescore": False where the collection
keeps vectors); exact incremental is the same with "float"; exact full is `Full`; random is `Random`, and batch-hard is
`Random` with a loss on `hardest_in_batch`.

Where a dataset has classes and no pairs, `hardest_positives` gives each item its positive.
"""

from __future__ import annotations

from negmine.epoch.compose import Neighbours, Recipe
from negmine.epoch.hardest import hardest_in_batch, hardest_positives
from negmine.epoch.miners import Full, Incremental, Miner, Random
from negmine.epoch.ranks import Alone, Ranks, TorchRanks
from negmine.epoch.sampler import BatchSampler

__all__ = [
    "Alone",
    "BatchSampler",
    "Full",
    "Incremental",
    "Miner",
    "Neighbours",
    "Random",
    "Ranks",
    "Recipe",
    "TorchRanks",
    "hardest_in_batch",
    "hardest_positives",
]
